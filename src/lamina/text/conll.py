"""CoNLL and CoNLL-U: a word a line, its values in columns, a blank line after each sentence.

Comes in: lines, already decoded. Goes out: a `Sentence` at a time, its columns by name: `words`, mostly `tags`.

CoNLL has tabs or spaces between its columns and no header; the first column is the word, the last one its tag, unless
the columns are named. CoNLL-U has ten columns with tabs between them (universaldependencies.org/format.html): the
second is the word, the fourth its part of speech. Left out are comments, the lines `1-2` of a multiword token (the
words it is made of follow), empty nodes (`1.1`), and `-DOCSTART-`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lamina.errors import SourceError

WORDS, TAGS = "words", "tags"
LEFT_OUT = "_"  # a column without a name
N_UNIVERSAL = 10
UNIVERSAL = (LEFT_OUT, WORDS, LEFT_OUT, TAGS)

_ID = re.compile(r"(\d+)([-.]\d+)?", re.ASCII)
_TAG = re.compile(r"O|[BIESLUM]-\S+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence.

    line     where its first word stands, counted from 1.
    columns  name -> a value for each word; None where CoNLL-U leaves a value out (`_`).
    """

    line: int
    columns: dict[str, list[str | None]]


def read_sentences(
    lines: Iterable[str], *, path: str, universal: bool = False, columns: Sequence[str] | None = None
) -> Iterator[Sentence]:
    """The sentences of a file, one at a time.

    path       what errors call the file.
    universal  whether it is CoNLL-U.
    columns    the columns' names, the first one's first, `_` for one that is not wanted.

    Raises SourceError, with the line, for one without the columns of the first, an empty word, an id that is none.
    """
    held: list[list[str]] = []
    begin, width = 0, N_UNIVERSAL if universal else 0
    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip("\r\n")
        if not line.strip():
            if held:
                yield _sentence(held, begin, _names(columns, width, universal, path), universal)
            held = []
        elif not _is_left_out(line, universal, inside=bool(held)):
            values = line.split("\t") if universal or "\t" in line else line.split()
            width = width or len(values)
            if len(values) != width:
                raise SourceError(f"{path}, line {number}: {len(values)} columns; expected {width}, as before")
            if not _is_word(values, f"{path}, line {number}", universal):
                continue
            begin = begin if held else number
            held.append(values)
    if held:
        yield _sentence(held, begin, _names(columns, width, universal, path), universal)


def _is_left_out(line: str, universal: bool, *, inside: bool) -> bool:
    """Whether a line is a comment. A hashtag is none: CoNLL has no rule, so a comment there is `# ` and words before a
    sentence, without a tab and without a tag at its end."""
    if universal:
        return line.startswith("#")
    if line.startswith("-DOCSTART-"):
        return True
    return line.startswith("# ") and not inside and "\t" not in line and not _TAG.fullmatch(line.split()[-1])


def _is_word(values: list[str], where: str, universal: bool) -> bool:
    """False for a multiword token's own line and an empty node."""
    if universal:
        found = _ID.fullmatch(values[0])
        if not found:
            raise SourceError(f"{where}: the first column holds no id of CoNLL-U, such as 1, 1-2 or 1.1")
        if found[2]:
            return False
    if not values[int(universal)]:
        raise SourceError(f"{where}: the word is empty")
    return True


def _names(columns: Sequence[str] | None, width: int, universal: bool, path: str) -> Sequence[str]:
    """What each column is called."""
    if columns is None:
        if universal:
            return UNIVERSAL
        return (WORDS, *[LEFT_OUT] * (width - 2), TAGS) if width > 1 else (WORDS,)
    if len(columns) > width:
        raise SourceError(f"{path} has {width} columns, and {len(columns)} names were given: {', '.join(columns)}")
    named = [name for name in columns if name != LEFT_OUT]
    if len(set(named)) != len(named):
        raise SourceError(f"{path}: two columns are given one name: {', '.join(columns)}")
    return columns


def _sentence(rows: list[list[str]], line: int, names: Sequence[str], universal: bool) -> Sentence:
    columns: dict[str, list[str | None]] = {}
    for place, name in enumerate(names):
        if name != LEFT_OUT:
            values = [row[place] for row in rows]
            left_out = universal and name != WORDS  # a word `_` is one
            columns[name] = [None if left_out and value == "_" else value for value in values]
    return Sentence(line, columns)
