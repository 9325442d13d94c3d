"""`Text`: one input. Mostly just a string; else with ready-made words, spans, or a second text beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lamina.errors import TextError

Ranges = tuple[tuple[int, int], ...]
OnError = Literal["stop", "mark"]  # what becomes of a row that cannot be read or tokenized


@dataclass(frozen=True, slots=True)
class Text:
    """One input, with what is known about it.

    text   the string.
    pair   a second string, read together with the first as the model was trained to (segment 1).
    words  the words of `text` as character ranges, where they are given and not to be found: unit `word` takes them.
    spans  character ranges of `text`: unit `span` takes them.
    """

    text: str
    pair: str | None = None
    words: Ranges | None = None
    spans: Ranges | None = None

    def __post_init__(self) -> None:
        for value in (self.text, "" if self.pair is None else self.pair):
            if not isinstance(value, str):
                raise TextError(f"holds {a_kind(value)} where a string is expected", row=0)
        for name in ("words", "spans"):
            given = getattr(self, name)
            ranges = None if given is None else tuple((start, end) for start, end in given)
            object.__setattr__(self, name, ranges)  # of lists, too: equal texts are found by their hash
            for start, end in ranges or ():
                if not 0 <= start <= end <= len(self.text):
                    raise ValueError(f"{name}: characters {start} to {end} of a text of {len(self.text)} characters")

    @classmethod
    def of_words(cls, words: Iterable[str], *, pair: str | None = None) -> Text:
        """A text of ready-made words, as in CoNLL, joined by single spaces; offsets are into that string."""
        if isinstance(words, str):
            raise TextError("has one string for its words: put them in a list", row=0)
        held = list(words)
        ranges, start = [], 0
        for word in held:
            ranges.append((start, start + len(word)))
            start += len(word) + 1
        return cls(" ".join(held), pair=pair, words=tuple(ranges))

    @classmethod
    def with_spans(cls, text: str, spans: Iterable[Sequence[int]]) -> Text:
        """A text with spans to embed: pairs of start and end, in characters."""
        return cls(text, spans=tuple((int(start), int(end)) for start, end in spans))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands in the place of a text that could not be read: its row is kept, and `reason` says why.

    A reason names the place (line, row, column) and never quotes what stands there.
    """

    reason: str


def as_text(item: str | Text | Unreadable) -> Text:
    """A string as a Text; of what could not be read, the empty one."""
    if isinstance(item, Unreadable):
        return Text("")
    return Text(item) if isinstance(item, str) else item


def a_kind(value: object) -> str:
    """What kind of thing a value is, for errors: `an int`, `empty (null)`."""
    if value is None:
        return "empty (null)"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
