"""A classifier that moelt has trained, in PyTorch.

    moelt export RUN --out DIR
    pip install torch numpy safetensors      # and tokenizers, for pretrained encoders
    python load_moelt.py DIR < texts.txt     # one text per line; gives CSV: the class and the logits of all classes
"""

import csv, json, sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.functional import gelu, layer_norm, normalize, pad, relu, scaled_dot_product_attention, silu

from moelt_groups import Groups
from moelt_tokens import Vocabulary


class Classifier:
    """The network that config.json describes; `w` has its weights by name."""

    def __init__(self, folder):
        folder = Path(folder)
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assigned = any(layer["kind"] == "assigned" for layer in self.config["layers"])
        self.groups = Groups(folder / "groups.json") if assigned else None
        self.vocabulary, self.w = Vocabulary(folder / "vocabulary.json"), load_file(folder / "model.safetensors")
        self.model = self.config["model"]
        self.transformer = self.model["encoder"].get("transformer", {"norm": "pre"})

    def norm(self, name, x):
        gamma = self.w.get(f"{name}.gamma")
        return x if gamma is None else layer_norm(x, gamma.shape, gamma, self.w[f"{name}.beta"], self.model["norm_epsilon"])

    def residual(self, name, x, part):
        """x + part(norm(x)), or norm(x + part(x))."""
        return self.norm(name, x + part(x)) if self.transformer["norm"] == "post" else x + part(self.norm(name, x))

    def attention(self, name, x):
        heads = (x @ self.w[f"{name}.w_in"] + self.w[f"{name}.b_in"]).view(len(x), 3, self.transformer["n_heads"], -1)
        q, k, v = heads.permute(1, 2, 0, 3)
        if "rotary" in self.transformer["positions"]:
            half = q.shape[2] // 2
            angles = torch.arange(len(x)).double()[:, None] * 10_000.0 ** (-torch.arange(half).double() / half)
            cos, sin = angles.cos().float(), angles.sin().float()
            turn = lambda h: torch.cat([h[..., :half] * cos - h[..., half:] * sin, h[..., half:] * cos + h[..., :half] * sin], 2)
            q, k = turn(q), turn(k)
        seen = scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(len(x), -1)
        return seen @ self.w[f"{name}.w_out"] + self.w[f"{name}.b_out"]

    def feed_forward(self, name, expert, x):
        linear = lambda part, x: x @ self.w[f"{name}.w_{part}"][expert] + self.w[f"{name}.b_{part}"][expert]
        gated = lambda units: silu(linear("gate", x)) * units
        return linear("out", {"relu": relu, "gelu": gelu, "swiglu": gated}[self.model["activation"]](linear("in", x)))

    def top_k(self, name, k, seen):
        """The expert weights of each token: the probabilities of its k best experts."""
        weight, bias, balance_bias = (self.w[f"{name}.router.{part}"] for part in ("weight", "bias", "balance_bias"))
        probs = (seen @ weight.T + bias).softmax(1)
        chosen = (probs.log() + balance_bias).sort(descending=True, stable=True).indices[:, :k]
        weights = torch.zeros_like(probs).scatter(1, chosen, probs.gather(1, chosen))
        as_trained = chosen.shape[1] == 1 or self.model.get("expert_choice", False)
        return weights if as_trained else weights / weights.sum(1, keepdim=True)

    def top_any(self, name, seen):
        """The same for all experts whose threshold a token passes, or the best one."""
        scores = (normalize(seen, dim=1) @ normalize(self.w[f"{name}.router.weight"], dim=1).T).sigmoid()
        active = scores > self.w[f"{name}.router.threshold"].sigmoid()
        best = torch.zeros_like(active).scatter(1, scores.argmax(1, keepdim=True), True)
        active = torch.where(active.any(1, keepdim=True), active, best)
        return active / active.sum(1, keepdim=True)

    def experts(self, name, kind, groups, seen, x):
        """The weighted sum of the chosen experts, and the shared one; routers see `seen`, or the `groups` of the text decide."""
        shared = self.feed_forward(f"{name}.shared", 0, x) if f"{name}.shared.w_in" in self.w else 0
        if kind == "dense":
            return self.feed_forward(f"{name}.experts", 0, x) + shared
        if kind == "assigned":
            n_experts = len(self.w[f"{name}.experts.w_in"])
            return self.feed_forward(f"{name}.experts", next((g for g in groups if g < n_experts), n_experts - 1), x) + shared
        weights = self.top_any(name, seen) if kind == "top_any" else self.top_k(name, kind["top_k"]["k"], seen)
        return sum(weights[:, [e]] * self.feed_forward(f"{name}.experts", e, x) for e in range(weights.shape[1])) + shared

    def pool(self, x):
        if self.model["pooling"] == "attention":
            return (x @ self.w["pool.query"]).softmax(0)[None] @ x
        total = {"mean": [x.mean(0)], "max": [x.amax(0)], "first": [x[0]], "sum_max": [x.sum(0) / len(x) ** 0.5, x.amax(0)]}
        return torch.cat(total[self.model["pooling"]])[None]

    def logits(self, text):
        w, by_token, groups = self.w, self.model["unit"] == "token", self.groups and self.groups.ranked(text)
        x = torch.stack([w["embedding.table"][rows].sum(0) for rows in self.vocabulary.encode(text)])
        x = self.norm("input_norm", x + w["positions.table"][: len(x)] if "positions.table" in w else x)
        if "conv.weight" in w:
            width = len(w["conv.weight"]) // x.shape[1]
            windows = pad(x, (0, 0, width // 2, width // 2)).unfold(0, width, 1).transpose(1, 2).reshape(len(x), -1)
            x = x + relu(windows @ w["conv.weight"] + w["conv.bias"])
        x = x if by_token else self.pool(x)
        for at, layer in enumerate(self.config["layers"]):
            if f"attention.{at}.w_in" in w:
                x = self.residual(f"attention.{at}.norm", x, lambda y: self.attention(f"attention.{at}", y))
            name, mean = f"layers.{at}", x.mean(0, keepdim=True).expand_as(x)
            seen = {"token": x, "sequence": mean, "token_and_sequence": x + mean}[self.model["router_input"] if by_token else "token"]
            seen = seen if self.transformer["norm"] == "post" else self.norm(f"{name}.norm", seen)
            x = self.residual(f"{name}.norm", x, lambda y: self.experts(name, layer["kind"], groups, seen, y))
        x = self.norm("output_norm", self.pool(x) if by_token else x)
        return (x @ w["head.weight"] + w["head.bias"])[0]


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "vocabulary.json").is_file():
        sys.exit(__doc__)
    classifier, out = Classifier(sys.argv[1]), csv.writer(sys.stdout)
    classes = classifier.config["classes"]
    out.writerow(["label", *classes])
    for line in sys.stdin:
        logits = classifier.logits(line.rstrip("\n"))
        out.writerow([classes[logits.argmax()], *logits.tolist()])
