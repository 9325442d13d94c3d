"""`Tokens` made by hand: what a tokenizer would give, without one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lamina.text.tokens import Tokens

Pairs = Sequence[tuple[int, int]]


def tokens_at(*texts: Pairs, lengths: Sequence[int], n_prefix: int = 1, n_suffix: int = 1) -> Tokens:
    """Texts whose ordinary tokens stand at these characters; `ids` number all tokens from 0."""
    rows = [[(0, 0)] * n_prefix + list(text) + [(n, n)] * n_suffix for text, n in zip(texts, lengths, strict=True)]
    special = [[True] * n_prefix + [False] * len(text) + [True] * n_suffix for text in texts]
    flat = np.array([pair for row in rows for pair in row], np.int64).reshape(-1, 2)
    return Tokens(
        ids=np.arange(len(flat), dtype=np.int32),
        types=np.zeros(len(flat), np.int32),
        special=np.array([flag for row in special for flag in row], np.bool_),
        starts=flat[:, 0].copy(),
        ends=flat[:, 1].copy(),
        bounds=np.cumsum([0] + [len(row) for row in rows]),
        fixed=np.full(len(texts), n_prefix),
        n_suffix=n_suffix,
        lengths=np.array(lengths, np.int64),
        totals=np.array(lengths, np.int64),
    )


def tokens_counted(counts: Sequence[int], *, n_prefix: int = 1, n_suffix: int = 1) -> Tokens:
    """Texts of so many ordinary tokens, a character each."""
    texts = [[(i, i + 1) for i in range(count)] for count in counts]
    return tokens_at(*texts, lengths=counts, n_prefix=n_prefix, n_suffix=n_suffix)
