"""Fine-tunes a BERT on the full sentences of SST-2's training file, as `moelt train datasets/sst2 phases/pretrained-dense --set
data.sst2.phrases=false --threads 1` does: three epochs, batches of 32, lr 5e-5, 10 % warm-up and then linear to 0, one thread.
With --phrases on all of its texts, as without data.sst2.phrases.

    pip install torch transformers safetensors
    python xtask/peer/fine_tune.py MODEL_DIR SST2_DIR SEED [--epochs N] [--phrases]
"""
import argparse
import csv
import random
import time

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

BATCH, LR = 32, 5e-5


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [(row["sentence"].strip(), int(row["label"])) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def full_sentences(rows):
    """Those whose tokens are no contiguous part of a longer text's."""
    texts = {tuple(text.split()) for text, _ in rows}
    parts = set()
    for tokens in sorted(texts, key=len, reverse=True):
        if tokens in parts:
            continue
        n = len(tokens)
        for size in range(1, n):
            parts.update(p for p in (tokens[i : i + size] for i in range(n - size + 1)) if p in texts)
    return [(text, label) for text, label in rows if tuple(text.split()) not in parts]


def batches(tokenizer, rows):
    for at in range(0, len(rows), BATCH):
        texts, labels = zip(*rows[at : at + BATCH])
        yield tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt"), torch.tensor(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir")
    parser.add_argument("data")
    parser.add_argument("seed", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--phrases", action="store_true")
    args = parser.parse_args()
    model_dir, data, seed = args.model_dir, args.data, args.seed
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = random.Random(seed)
    train, dev = read(f"{data}/train.tsv"), read(f"{data}/dev.tsv")
    train = train if args.phrases else full_sentences(train)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForSequenceClassification.from_pretrained(model_dir, num_labels=2)
    steps = args.epochs * -(-len(train) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    started = time.process_time()
    model.train()
    for _ in range(args.epochs):
        rng.shuffle(train)
        for inputs, labels in batches(tokenizer, train):
            loss = model(**inputs, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    seconds = time.process_time() - started
    model.eval()
    with torch.no_grad():
        right = sum((model(**inputs).logits.argmax(1) == labels).sum().item() for inputs, labels in batches(tokenizer, dev))
    print(f"seed {seed}: {len(train)} texts, {steps} steps, {seconds:.0f} CPU-seconds of training, dev {100 * right / len(dev):.2f} %")


main()
