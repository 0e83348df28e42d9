"""The event log of a run for TensorBoard.

    pip install tensorboard
    python to_tensorboard.py RUN... [--out DIR] [--follow]
    tensorboard --logdir DIR

Losses, accuracies, gradient norm and learning rate; of each layer its number of experts, entropies, and the utilization of every
expert by its id. `events.jsonl` stays the source, and nothing else is read. With --follow it goes on until the runs have stopped.
"""

import argparse, json, time
from pathlib import Path

from tensorboard.summary import Writer

SCALARS = ["loss", "load_balancing_loss", "router_z_loss", "diversity_loss", "simplicity_loss", "grad_norm", "lr"]


class Run:
    """What of one event log has been passed on, and the experts by then."""

    def __init__(self, folder, out):
        self.log, self.read, self.rest, self.done = Path(folder) / "events.jsonl", 0, "", False
        self.writer, self.layers = Writer(str(Path(out) / Path(folder).name)), []

    def poll(self):
        """Passes on the lines that are whole since the last time."""
        if self.log.stat().st_size < self.read:
            raise SystemExit(f"{self.log}: is shorter than it was: the run went on from a checkpoint; write to another --out")
        with open(self.log, encoding="utf-8") as log:
            log.seek(self.read)
            text = log.read()
        self.read += len(text.encode())
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.event(json.loads(line))
        self.writer.flush()

    def scalar(self, event, tag, value):
        if value is not None:
            self.writer.add_scalar(tag, value, event["step"], wall_time=event["wall"]["unix"])

    def event(self, event):
        kind = event["event"]
        if kind in ("start", "edit"):
            self.layers = event["layout"]["layers"]
            for at, layer in enumerate(self.layers):
                self.scalar(event, f"layer {at}/experts", len(layer["experts"]))
        elif kind == "window":
            for tag in SCALARS:
                self.scalar(event, f"train/{tag}", event.get(tag))
            routed = [(at, layer) for at, layer in enumerate(self.layers) if layer["kind"] != "dense"]
            for (at, layer), routing in zip(routed, event["routing"]):
                for tag in ("routing_entropy", "load_entropy"):
                    self.scalar(event, f"layer {at}/{tag}", routing[tag])
                for expert, share in zip(layer["experts"], routing["utilization"]):
                    self.scalar(event, f"layer {at} utilization/expert {expert}", share)
        elif kind == "validation":
            for tag in ("accuracy", "loss"):
                self.scalar(event, f"validation/{tag}", event[tag])
        elif kind == "stop":
            self.done = True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    parser.add_argument("--out", default="tensorboard", metavar="DIR", help="folder for TensorBoard (default: tensorboard)")
    parser.add_argument("--follow", action="store_true", help="go on until the runs have stopped")
    args = parser.parse_args()
    runs = [Run(folder, args.out) for folder in args.runs]
    while True:
        for run in runs:
            run.poll()
        if not args.follow or all(run.done for run in runs):
            break
        time.sleep(1)
