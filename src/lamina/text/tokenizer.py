"""Tokens: what the model's own tokenizer makes of texts, with character offsets into the original strings.

Comes in: strings. Goes out: `Tokens`, integers only, of many texts laid end to end. Nothing is cut or padded here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lamina.errors import TextError
from lamina.text.text import Text, as_text
from lamina.text.tokenizer_files import Template, TokenizerError, guarded, read_tokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Backend

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of N texts laid end to end, each text with its special tokens: T in all.

    The two strings of a pair are one text here: their characters stand one after the other with one place between.

    ids, types   [T]; types are segment numbers, 1 for the second string of a pair.
    special      [T]; whether the tokenizer added the token.
    starts, ends [T]; character offsets into the text; a special token's are empty, where it stands. They never
                 decrease within a text.
    bounds       [N + 1]; text i has the tokens bounds[i] to bounds[i + 1].
    fixed        [N]; how many tokens stand before the part that windows move over: the special tokens before the
                 text, and the whole first string of a pair.
    n_suffix     special tokens after each text.
    lengths      [N]; characters of the first string.
    totals       [N]; characters of the whole text: the same, or both strings and one place between.
    """

    ids: Int32
    types: Int32
    special: Bool
    starts: Int64
    ends: Int64
    bounds: Int64
    fixed: Int64
    n_suffix: int
    lengths: Int64
    totals: Int64

    @property
    def counts(self) -> Int64:
        """Tokens of each text that windows move over, [N]."""
        return np.diff(self.bounds) - self.fixed - self.n_suffix

    @property
    def is_pair(self) -> Bool:
        """Whether each text is a pair, [N]."""
        return self.totals > self.lengths

    @property
    def text_index(self) -> Int64:
        """The text that each token belongs to, [T]."""
        return np.repeat(np.arange(self.bounds.size - 1), np.diff(self.bounds))


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A checkpoint's tokenizer; `source` names its file in errors."""

    backend: Backend
    source: str
    template: Template

    @property
    def n_prefix(self) -> int:
        """Special tokens before a text."""
        return self.template.prefix

    @property
    def n_suffix(self) -> int:
        """Special tokens after a text."""
        return self.template.suffix

    @property
    def n_special(self) -> int:
        """Special tokens around a text."""
        return self.template.prefix + self.template.suffix

    @property
    def n_ids(self) -> int:
        """One more than the largest token id that it can give."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1)

    @property
    def sha256(self) -> str:
        """The hash of everything that decides how it cuts a text."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    def encode(self, texts: Sequence[str | Text]) -> Tokens:
        """The tokens of `texts`. Raises TextError, its row counted from 0, for a string that is no text."""
        held = [as_text(text) for text in texts]
        inputs = [text.text if text.pair is None else (text.text, text.pair) for text in held]
        encodings = self._encodings(inputs)
        counts = np.fromiter((len(e) for e in encodings), np.int64, len(encodings))
        bounds = np.concatenate(([0], np.cumsum(counts)))
        total = int(bounds[-1])
        ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32, total)
        offsets = np.fromiter(
            chain.from_iterable(chain.from_iterable(e.offsets for e in encodings)), np.int64, 2 * total
        ).reshape(total, 2)
        lengths = np.fromiter((len(text.text) for text in held), np.int64, len(held))
        totals = lengths.copy()
        types, special = np.zeros(total, np.int32), np.zeros(total, np.bool_)
        fixed = np.full(len(held), self.n_prefix)
        special[_places(bounds[:-1], self.n_prefix)] = True
        for i, text in enumerate(held):
            if text.pair is not None:
                low, high = int(bounds[i]), int(bounds[i + 1])
                n_first = encodings[i].sequence_ids.count(0)
                fixed[i] = self.n_prefix + n_first + self.template.middle
                middle, second = low + self.n_prefix + n_first, low + int(fixed[i])
                types[low:high] = encodings[i].type_ids
                special[middle:second] = True
                offsets[middle:second] = lengths[i]
                offsets[second:high] += lengths[i] + 1
                totals[i] += 1 + len(text.pair)
        last = _places(bounds[1:] - self.n_suffix, self.n_suffix)
        special[last] = True
        offsets[last] = np.repeat(totals, self.n_suffix)[:, None]
        starts, ends = np.ascontiguousarray(offsets[:, 0]), np.ascontiguousarray(offsets[:, 1])
        return Tokens(ids, types, special, starts, ends, bounds, fixed, self.n_suffix, lengths, totals)

    def lowercased(self) -> Tokenizer:
        """The same tokenizer behind one that lower-cases, which it may do already."""
        from tokenizers import Tokenizer as Backend
        from tokenizers import normalizers

        backend = Backend.from_str(self.backend.to_str())
        found = backend.normalizer
        steps: list[Any] = [] if found is None else [found]
        if isinstance(found, normalizers.Sequence):
            steps = [found[place] for place in range(len(found))]
        if not any(isinstance(step, normalizers.Lowercase) for step in steps):
            backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *steps])
        return replace(self, backend=backend)

    def piece(self, token_id: int) -> str:
        """A token's own name: `##ing`, `[CLS]`."""
        return str(self.backend.id_to_token(token_id))

    def _encodings(self, texts: list[str | tuple[str, str]]) -> list[Encoding]:
        try:
            return guarded(lambda: self.backend.encode_batch(texts))
        except TokenizerError:
            for row, text in enumerate(texts):  # which one was it?
                try:
                    guarded(lambda: self.backend.encode_batch([text]))  # noqa: B023 - called at once
                except TokenizerError as error:
                    said = "; ".join(_complaint(part, error) for part in ([text] if isinstance(text, str) else text))
                    raise TextError(said, row=row) from None
            raise


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder: `tokenizer.json`, `vocab.txt`, or `vocab.json` with `merges.txt`.

    Raises CheckpointError where none is there, or a file cannot be read.
    """
    backend, template, source = read_tokenizer(folder)
    return Tokenizer(backend, str(source), template)


def _places(starts: Int64, count: int) -> Int64:
    """The `count` places from each start on, laid end to end."""
    return np.asarray((starts[:, None] + np.arange(count)).ravel(), np.int64)


def _complaint(text: str, error: Exception) -> str:
    lone = next((i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff"), None)
    if lone is not None:
        return f"holds half a surrogate pair (U+{ord(text[lone]):04X}) at character {lone}, which is no Unicode text"
    return f"cannot be tokenized: {error}"
