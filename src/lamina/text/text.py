"""`Text`: one input. Mostly just a string; else with ready-made words, spans, or a second text beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lamina.errors import TextError

Ranges = tuple[tuple[int, int], ...]


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
        if not isinstance(self.text, str) or not isinstance(self.pair, str | None):
            raise TextError(
                f"holds {str(self.text)[:40]!r} and {str(self.pair)[:40]!r}, which are not both strings", row=0
            )
        for name in ("words", "spans"):
            ranges = getattr(self, name)
            for start, end in ranges or ():
                if not 0 <= start <= end <= len(self.text):
                    raise ValueError(f"{name}: characters {start} to {end} of a text of {len(self.text)} characters")

    @classmethod
    def of_words(cls, words: Iterable[str], *, pair: str | None = None) -> Text:
        """A text of ready-made words, as in CoNLL, joined by single spaces; offsets are into that string."""
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


def as_text(item: str | Text) -> Text:
    """A string as a Text."""
    return Text(item) if isinstance(item, str) else item
