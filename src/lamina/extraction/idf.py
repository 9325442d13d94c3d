"""How rare each token is in a corpus: the weights of `pool="idf"`, fitted once and kept with what they made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lamina.engine.batch import Float32
from lamina.errors import TextError
from lamina.text.source import Rows
from lamina.text.text import OnError, Unreadable, as_text
from lamina.text.tokenizer import Tokenizer
from lamina.text.tokens import Int64


@dataclass(frozen=True, slots=True, eq=False)
class Idf:
    """In how many of `n_texts` texts each token id occurs, [V]."""

    n_texts: int
    counts: Int64

    @property
    def weights(self) -> Float32:
        """log((1 + N) / (1 + n)) + 1 for each token id, [V]: never zero. Source: scikit-learn's smoothed idf."""
        return (np.log((1 + self.n_texts) / (1 + self.counts)) + 1).astype(np.float32)


def fit_idf(rows: Iterable[Rows], tokenizer: Tokenizer, *, on_error: OnError = "stop") -> Idf:
    """Count tokens over a corpus, read once; with `mark`, over its texts that can be read and tokenized."""
    counts = np.zeros(tokenizer.n_ids, np.int64)
    n_texts = first_row = 0
    for group in rows:
        places = [place for place, text in enumerate(group.texts) if not isinstance(text, Unreadable)]
        texts = [as_text(group.texts[place]) for place in places]
        while True:  # as often as there are kinds of refusal
            try:
                tokens = tokenizer.encode(texts)
                break
            except TextError as error:
                if on_error == "stop":
                    raise error.at(first_row + places[error.row]) from None
                texts = [text for place, text in enumerate(texts) if place not in error.refused]
        once = np.unique(tokens.text_index * counts.size + tokens.ids)  # each token once a text
        counts += np.bincount(once % counts.size, minlength=counts.size)
        n_texts += len(texts)
        first_row += len(group.texts)
    return Idf(n_texts, counts)
