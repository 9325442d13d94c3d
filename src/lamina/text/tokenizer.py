"""The model's own tokenizer: strings in, `Tokens` with character offsets into the original strings out.

Nothing is cut or padded here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import TextError
from lamina.text.pieces import encode_long, is_long, laid_end_to_end
from lamina.text.text import Text, as_text
from lamina.text.tokenizer_files import Template, TokenizerError, guarded, n_ids_of, parse_tokenizer, read_tokenizer
from lamina.text.tokens import Int32, Int64, Tokens

if TYPE_CHECKING:
    from tokenizers import Encoding
    from tokenizers import Tokenizer as Backend

MAX_TYPE = 1_023  # the largest segment number that a config may describe


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A checkpoint's tokenizer; `source` names its file in errors, `n_ids` is one more than its largest token id."""

    backend: Backend
    source: str
    template: Template
    n_ids: int

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
    def sha256(self) -> str:
        """The hash of everything that decides how it cuts a text."""
        return hashlib.sha256(self.backend.to_str().encode()).hexdigest()

    def encode(self, texts: Sequence[str | Text]) -> Tokens:
        """The tokens of `texts`. Raises TextError, its rows counted from 0, for strings that are no text."""
        held = [as_text(text) for text in texts]
        if not any(map(is_long, held)):
            return self._encode(held)
        parts: list[Tokens] = []
        refused: dict[int, str] = {}
        row = 0
        for long, group in groupby(held, is_long):
            for some in [[text] for text in group] if long else [list(group)]:
                try:
                    parts.append(encode_long(some[0].text, self._encode) if long else self._encode(some))
                except TextError as error:
                    refused |= {row + i: reason for i, reason in error.refused.items()}
                row += len(some)
        if refused:
            raise TextError.of(refused)
        return laid_end_to_end(parts)

    def _encode(self, held: Sequence[Text]) -> Tokens:
        inputs = [text.text if text.pair is None else (text.text, text.pair) for text in held]
        encodings = self._encodings(inputs)
        counts = np.fromiter((len(e) for e in encodings), np.int64, len(encodings))
        bounds = np.concatenate(([0], np.cumsum(counts)))
        total = int(bounds[-1])
        ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32, total)
        offsets = np.fromiter(
            chain.from_iterable(chain.from_iterable(e.offsets for e in encodings)), np.int64, 2 * total
        ).reshape(total, 2)
        self._check(held, encodings, ids, bounds)
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
        starts, ends = _in_order(np.ascontiguousarray(offsets.T), counts, totals)
        return Tokens(ids, types, special, starts, ends, bounds, fixed, self.n_suffix, lengths, totals)

    def _check(self, texts: Sequence[Text], encodings: Sequence[Encoding], ids: Int32, bounds: Int64) -> None:
        """Raise TextError for texts of which the tokenizer makes what no model can take: it is a file that anybody may
        have written."""
        unknown = np.searchsorted(bounds, np.flatnonzero(ids >= self.n_ids), side="right") - 1
        refused = dict.fromkeys(
            unknown.tolist(), "cannot be tokenized: the model's tokenizer gives it an unknown token"
        )
        around = "cannot be tokenized: the model's tokenizer does not put around it what it puts around others"
        for i in np.flatnonzero(bounds[1:] - bounds[:-1] < self.n_special).tolist():
            refused[i] = around
        for i, text in enumerate(texts):
            if text.pair is not None:
                sides = encodings[i].sequence_ids
                n_own = sides.count(0) + sides.count(1)
                is_whole = len(sides) == n_own + self.n_special + self.template.middle
                if not is_whole or max(encodings[i].type_ids, default=0) > MAX_TYPE:
                    refused[i] = around
        if refused:
            raise TextError.of(refused)

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
        except TokenizerError:  # which ones were it?
            found: list[Encoding] = []
            refused: dict[int, str] = {}
            for row, text in enumerate(texts):
                try:
                    found += guarded(lambda: self.backend.encode_batch([text]))  # noqa: B023 - called at once
                except TokenizerError:
                    refused[row] = _complaint(text)
        if refused:
            raise TextError.of(refused)
        return found


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder: `tokenizer.json`, `vocab.txt`, or `vocab.json` with `merges.txt`.

    Raises CheckpointError where none is there, or a file cannot be read.
    """
    backend, template, source = read_tokenizer(folder)
    return Tokenizer(backend, str(source), template, n_ids_of(backend))


def tokenizer_from_json(json_text: str, source: str) -> Tokenizer:
    """A tokenizer from what a tokenizer.json would hold; `source` names it in errors. Raises CheckpointError."""
    backend, template = parse_tokenizer(json_text, source)
    return Tokenizer(backend, source, template, n_ids_of(backend))


def _in_order(places: Int64, sizes: Int64, totals: Int64) -> Int64:
    """Character offsets [2, T], kept within their text and from decreasing in it: a sound tokenizer's as they are."""
    origins = np.repeat(np.cumsum(totals + 1) - (totals + 1), sizes)
    on_one_line = origins + np.minimum(places, np.repeat(totals, sizes))
    return np.asarray(np.maximum.accumulate(on_one_line, axis=1) - origins, np.int64)


def _places(starts: Int64, count: int) -> Int64:
    """The `count` places from each start on, laid end to end."""
    return np.asarray((starts[:, None] + np.arange(count)).ravel(), np.int64)


def _complaint(text: str | tuple[str, str]) -> str:
    """Why a text was refused. What the tokenizer says of it is not repeated: its panics quote the text."""
    for part in (text,) if isinstance(text, str) else text:
        lone = next((i for i, c in enumerate(part) if "\ud800" <= c <= "\udfff"), None)
        if lone is not None:
            half = f"half a surrogate pair (U+{ord(part[lone]):04X})"
            return f"holds {half} at character {lone}, which is no Unicode text"
    return "cannot be tokenized: the model's tokenizer gives up on it"
