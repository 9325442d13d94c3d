"""A survey of an input: how much there is, and a sample of it, in one reading and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lamina.text.source import Rows
from lamina.text.text import Ranges, Text, as_text

N_TEXTS = 1024  # in a sample, at least; twice as many at most
N_CHARACTERS = 1_000_000  # likewise, at most, but for one text
LONGEST = 100_000  # characters of one text in a sample; of a longer one, its beginning


@dataclass(frozen=True, slots=True)
class Survey:
    """What an input holds.

    longest  characters of its longest text.
    sample   every so many-th text, as they come; of very long ones the beginning.
    """

    n_texts: int
    n_characters: int
    longest: int
    sample: tuple[Text, ...]

    @property
    def sampled_characters(self) -> int:
        return sum(len(text.text) for text in self.sample)


def survey(rows: Iterable[Rows]) -> Survey:
    """Read all rows. Raises SourceError for one that cannot be read."""
    n_texts = n_characters = longest = held = 0
    sample: list[Text] = []
    step = 1  # every so many-th text is kept; whenever there are too many, every other one of them goes
    for group in rows:
        for item in group.texts:
            text = as_text(item)
            size = len(text.text)
            if n_texts % step == 0:
                sample.append(_beginning(text))
                held += min(size, LONGEST)
            n_texts, n_characters, longest = n_texts + 1, n_characters + size, max(longest, size)
            while len(sample) > 2 * N_TEXTS or (held > N_CHARACTERS and len(sample) > 1):
                sample, step = sample[::2], 2 * step
                held = sum(len(kept.text) for kept in sample)
    return Survey(n_texts, n_characters, longest, tuple(sample))


def _beginning(text: Text) -> Text:
    if len(text.text) <= LONGEST:
        return text
    pair = text.pair and text.pair[:LONGEST]
    return Text(text.text[:LONGEST], pair=pair, words=_whole(text.words), spans=_whole(text.spans))


def _whole(ranges: Ranges | None) -> Ranges | None:
    """Those of a long text that lie in its beginning."""
    return None if ranges is None else tuple(one for one in ranges if one[1] <= LONGEST)
