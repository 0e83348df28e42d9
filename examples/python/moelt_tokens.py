"""Texts as moelt's models take them: which rows of the embedding table each token has."""

import json, re, unicodedata

CLITICS = ["n't", "'s", "'re", "'ve", "'ll", "'d", "'m"]
KEPT = CLITICS + "mr. mrs. ms. dr. jr. vs. etc. inc. co. bros. no. al. sept. wash. 'em 'n 'n' 'til ol' 'cause".split()
BRACKETS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]"}
MARK = "[!-/:-@\\[-`{-~¡¿«»\u2010-\u2027\u2030-\u205e\u3001-\u3003]"


def tokenize(text, lowercase):
    """Words and punctuation; the rules stand in crates/data/src/tokenizer.rs."""
    text = unicodedata.normalize("NFKC", text)
    for piece in (text.lower() if lowercase else text).split():
        piece = BRACKETS.get(piece.lower(), piece).replace("\\/", "/").replace("’", "'")
        if re.fullmatch(f"{MARK}+", piece):
            yield piece
            continue
        start, end = 0, len(piece)
        while (word := piece[start:end]).lower() not in KEPT and not re.fullmatch(r"([^\W\d_]\.)*", word):
            if re.match(f"(?!-){MARK}", word) and not re.match("'[0-9]", word):
                start += 1
            elif re.match(f"(?!-){MARK}", word[-1]):
                end -= 1
            else:
                break
        stem = len(word) - next((len(c) for c in CLITICS if word.lower().endswith(c) and len(word) > len(c)), 0)
        runs = lambda marks: [run[0] for run in re.finditer(r"(.)\1*", marks)]
        yield from filter(None, runs(piece[:start]) + [word[:stem], word[stem:]] + runs(piece[end:]))


def parts(word, sub):
    """The parts of a word that may have a row: crates/data/src/subword.rs."""
    found = [f"prefix {word[:n]}" for n in sorted(sub["prefixes"], reverse=True) if 0 < n <= len(word)]
    found += [f"suffix {word[-sub['suffix']:]}"] if 0 < sub["suffix"] < len(word) else []
    found += [f"part {part}" for part in word.split("-") if part] if sub["hyphen_parts"] and "-" in word else []
    return list(dict.fromkeys(found))


class Vocabulary:
    """The vocabulary.json of an export or of a checkpoint."""

    def __init__(self, path):
        vocabulary = json.loads(path.read_text(encoding="utf-8"))
        self.text, self.rows = vocabulary["text"], {name: row for row, name in enumerate(vocabulary["rows"].get("words", []), 1)}
        self.tokenizer = None
        if "pretrained" in vocabulary["rows"]:
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_str(vocabulary["rows"]["pretrained"])
            self.tokenizer.no_padding()
            self.tokenizer.enable_truncation(self.text["max_tokens"])

    def encode(self, text):
        """The rows of each token; a text without tokens has one without rows."""
        if self.tokenizer:
            return [[row] for row in self.tokenizer.encode(text).ids]
        words, sub = list(tokenize(text, self.text["lowercase"]))[: self.text["max_tokens"]], self.text["subwords"]
        known = lambda names: [self.rows[name] for name in names if name in self.rows]
        return [known([word]) + known(parts(word, sub))[: sub["max_parts"]] for word in words] or [[]]
