"""Texts in more than a hundred languages and five published vocabularies, from the shared data sets."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.checkpoints import save_vocabulary
from tests.samples import BARE, TEXTS

# Each vocabulary's file and what its tokenizer is told.
WORDPIECE: dict[str, tuple[str, dict[str, Any]]] = {
    "uncased": ("bert-base-uncased-vocab.txt", {"do_lower_case": True}),
    "cased": ("bert-base-cased-vocab.txt", {"do_lower_case": False}),
    "chinese": ("bert-base-chinese-vocab.txt", {"do_lower_case": False}),
    "multilingual": ("bert-base-multilingual-cased-vocab.txt", {"do_lower_case": False}),
}
BYTE_LEVEL = "byte_level"
TOKENIZERS = (*WORDPIECE, BYTE_LEVEL)


def corpus(data: Path) -> list[str]:
    """More than three thousand texts, no two the same."""
    texts = [text for read in SOURCES for text in read(data)]
    return list(dict.fromkeys(text for text in [*texts, *TEXTS, *BARE] if not has_lone_surrogate(text)))


def multilingual(data: Path, *, every: int = 8) -> list[str]:
    """Every eighth of ten thousand: sentences of Tatoeba, reviews, the Universal Declaration of Human Rights."""
    lines = (data / "throughput" / "multilingual_10k.jsonl").read_bytes().split(b"\n")
    return [json.loads(line)["text"] for line in lines[::every] if line]


def contexts(data: Path, language: str) -> list[str]:
    """The 240 paragraphs of XQuAD in one language."""
    found = json.loads((data / "xquad" / f"xquad.{language}.json").read_bytes())["data"]
    return [paragraph["context"] for article in found for paragraph in article["paragraphs"]]


def questions(data: Path, language: str) -> list[str]:
    """Every fourth question of XQuAD in one language."""
    found = json.loads((data / "xquad" / f"xquad.{language}.json").read_bytes())["data"]
    asked = [qa["question"] for article in found for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    return asked[::4]


def xquad(data: Path) -> list[str]:
    return [
        text for language in ("en", "zh", "de") for text in (*contexts(data, language)[::2], *questions(data, language))
    ]


def chinese(data: Path) -> list[str]:
    """A fifth of ChnSentiCorp's test reviews."""
    lines = (data / "chinese" / "chnsenticorp" / "test.tsv").read_text("utf-8").split("\n")
    rows = list(csv.reader(lines[1:], delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row[-1] for row in rows[::5] if row]


def naughty(data: Path) -> list[str]:
    """All of the Big List of Naughty Strings."""
    found: list[str] = json.loads((data / "naughty_strings" / "blns.json").read_text("utf-8"))
    return found


SOURCES: tuple[Callable[[Path], list[str]], ...] = (multilingual, xquad, chinese, naughty)


def save_tokenizer(folder: Path, name: str, data: Path) -> Path:
    """Write the files of one of `TOKENIZERS`, as old checkpoints hold them: without a tokenizer.json."""
    vocab = data / "vocab"
    if name == BYTE_LEVEL:
        shutil.copy(vocab / "roberta-base-vocab.json", folder / "vocab.json")
        shutil.copy(vocab / "gpt2-roberta-merges.txt", folder / "merges.txt")
        return folder
    file, config = WORDPIECE[name]
    save_vocabulary(folder, **config)
    shutil.copy(vocab / file, folder / "vocab.txt")
    return folder


def has_lone_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
