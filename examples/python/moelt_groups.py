"""Which group a text belongs to, where experts are assigned by groups and no router learns the way."""

import json, sys, unicodedata
from math import inf, log

# What stands in crates/data/src/text_groups: n-grams of up to LONGEST characters, of the first LETTERS of a text.
SMOOTHING, LONGEST, LETTERS = 200.0, 3, 512


def letters(text):
    """The characters of a text, in lower case and between blanks; of a text that is spelled (`t h e _ c a t`), what it spells."""
    tokens = unicodedata.normalize("NFKC", text).split()
    spelled = all(len(set(token)) == 1 for token in tokens)
    found = " "
    for token in tokens:
        if len(found) >= LETTERS:
            break
        found += " " if spelled and token == "_" else "".join(char.lower() for char in token[:LETTERS])
        found += "" if spelled else " "
    return (found + " " if spelled else found)[:LETTERS]


class Groups:
    """The groups.json of an export or of a checkpoint: naive Bayes over n-grams."""

    def __init__(self, path):
        if not path.is_file():
            sys.exit(f"{path} is missing, by which texts are assigned to experts; copy it from the export, or run `moelt export` again")
        file = json.loads(path.read_text(encoding="utf-8"))
        texts, counts = sum(file["texts"]), file["counts"]
        self.groups = [log(n / texts) if n else -inf for n in file["texts"]]
        totals, seen = [SMOOTHING + sum(group) for group in zip(*counts)], sum(map(sum, counts))
        score = lambda row: [log((count + SMOOTHING * sum(row) / seen) / total) for count, total in zip(row, totals)]
        self.grams = {gram: score(row) for gram, row in zip(file["grams"], counts)}

    def ranked(self, text):
        """All groups, the likeliest first."""
        scores, read = list(self.groups), letters(text)
        for start in range(len(read)):
            for end in range(start + 1, min(start + LONGEST, len(read)) + 1):
                known = self.grams.get(read[start:end])
                scores = [a + b for a, b in zip(scores, known)] if known else scores
        return sorted(range(len(scores)), key=lambda group: -scores[group])
