"""Classifies texts, one a line from standard input, with a BERT as `moelt export --form hugging-face` writes it, as `moelt predict` does: prints
the class and its probability.

    pip install torch transformers safetensors
    python xtask/peer/predict.py MODEL_DIR THREADS < texts.txt > predictions.csv
"""
import sys
import time

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BATCH, BLOCK = 64, 8192


def main():
    model_dir, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForSequenceClassification.from_pretrained(model_dir).eval()
    started, n = time.perf_counter(), 0
    print("label,probability")
    texts = [line.rstrip("\n") for line in sys.stdin]
    with torch.inference_mode():
        for start in range(0, len(texts), BLOCK):
            # Of like length together: little is padded.
            block = texts[start : start + BLOCK]
            order = sorted(range(len(block)), key=lambda at: len(block[at]))
            answers = [""] * len(block)
            for at in range(0, len(order), BATCH):
                batch = order[at : at + BATCH]
                inputs = tokenizer([block[i] for i in batch], padding=True, truncation=True, max_length=256, return_tensors="pt")
                best = model(**inputs).logits.softmax(1).max(1)
                for i, label, probability in zip(batch, best.indices.tolist(), best.values.tolist()):
                    answers[i] = f"{model.config.id2label[label]},{probability:.6f}"
            print("\n".join(answers))
            n += len(block)
    print(f"{n} texts in {time.perf_counter() - started:.1f} s, without loading", file=sys.stderr)


main()
