"""How well key phrases agree with those that are known, and what counting words alone would give.

Shapes: P phrases, N documents.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from lamina.apps.keywords.phrases import Phrases
from lamina.apps.keywords.ranking import Keyword
from lamina.errors import SpecError

Names = Mapping[int | str, Sequence[str]]  # document -> phrases, best first


def known_phrases(units: pa.Table, column: str, phrases: Phrases) -> dict[int | str, list[str]]:
    """The known phrases of each document, from a column with one of them for each text, or a list (or its JSON).

    Raises SpecError where there is no such column.
    """
    if column not in units.column_names:
        raise SpecError(f"there is no column {column!r}; there are {', '.join(units.column_names)}")
    document, _, first, _ = phrases.texts.T
    found: dict[int | str, list[str]] = {}
    for number, value in zip(document.tolist(), units[column].take(pa.array(first)).to_pylist(), strict=True):
        found.setdefault(phrases.documents[number], []).extend(_listed(value))
    return found


def names_of(found: Iterable[Keyword]) -> dict[int | str, list[str]]:
    """The key phrases of each document, best first."""
    names: dict[int | str, list[str]] = {}
    for one in found:
        names.setdefault(one.document, []).append(one.phrase)
    return names


def agreement(found: Names, known: Names, *, stop_words: frozenset[str] = frozenset()) -> dict[str, float]:
    """`precision`, `recall` and `f1` of phrases found (each document's phrases pooled), and `touched`: the share of the
    known ones that have a word in common with one found.

    Two phrases are the same if their words are, case and stop words at their ends aside. Documents without any known
    phrase are left out. Raises SpecError where none has any.
    """
    n_found = n_known = n_same = n_touched = 0
    for document, wanted in known.items():
        gold = {words for one in wanted if (words := _words(one, stop_words))}
        if not gold:
            continue
        mine = {_words(one, stop_words) for one in found.get(document, ())}
        single = {word for words in mine for word in words} - stop_words
        n_found, n_known, n_same = n_found + len(mine), n_known + len(gold), n_same + len(mine & gold)
        n_touched += sum(bool(single & set(words)) for words in gold)
    if not n_known:
        raise SpecError("no document has a known key phrase: there is nothing to compare with")
    precision, recall = n_same / max(1, n_found), n_same / n_known
    f1 = 2 * n_same / (n_found + n_known)
    return {"precision": precision, "recall": recall, "f1": f1, "touched": n_touched / n_known}


def baselines(phrases: Phrases, k: int) -> dict[str, Names]:
    """What counting alone gives: the k phrases that stand first, and the k with the largest tf-idf (Spärck Jones 1972:
    how often a phrase stands in the document, times the log of documents over those that it stands in); and `all`, the
    most that any choice could reach."""
    keys = [name.casefold() for name in phrases.names]
    n_documents = Counter(keys)
    often = np.bincount(phrases.phrase, minlength=len(phrases))
    rare = np.log([len(phrases.documents) / n_documents[key] for key in keys])
    return {
        "first": _top(phrases, np.zeros(len(keys)), k),
        "tf-idf": _top(phrases, (often * rare).astype(np.float64), k),
        "all": _top(phrases, np.zeros(len(keys)), len(keys)),
    }


def _top(phrases: Phrases, values: np.ndarray[Any, np.dtype[np.float64]], k: int) -> dict[int | str, list[str]]:
    names: dict[int | str, list[str]] = {}
    for row in np.lexsort((-values, phrases.document)).tolist():  # stable: of two alike, the one that stands first
        held = names.setdefault(phrases.documents[phrases.document[row]], [])
        if len(held) < k:
            held.append(phrases.names[row])
    return names


def _words(phrase: str, stop_words: frozenset[str]) -> tuple[str, ...]:
    words = re.findall(r"\w+", phrase.casefold())
    while words and words[0] in stop_words:
        words.pop(0)
    while words and words[-1] in stop_words:
        words.pop()
    return tuple(words)


def _listed(value: object) -> list[str]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if value is None or value == "":
        return []
    return [str(one) for one in value if one is not None] if isinstance(value, list) else [str(value)]
