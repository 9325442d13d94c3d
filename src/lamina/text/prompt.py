"""Prompts: a text that is put before each text, as some models were trained to read them.

The tokens come out as if the prompt were one more special token of each text: its tokens are marked special, and
every character offset is into the text alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lamina.errors import TextError
from lamina.text.text import Text, as_text
from lamina.text.tokenizer import Tokenizer
from lamina.text.tokens import Tokens


def encode_after(prompt: str, texts: Sequence[str | Text], tokenizer: Tokenizer) -> Tokens:
    """The tokens of texts, each read with `prompt` right before it. Raises TextError as `Tokenizer.encode` does.

    A token that reaches over the seam belongs to the text.
    """
    size = len(prompt)
    try:
        tokens = tokenizer.encode([Text(prompt + text.text, text.pair) for text in map(as_text, texts)])
    except TextError:
        tokenizer.encode(texts)  # says the same, with the place counted in the text alone
        raise
    return replace(
        tokens,
        special=tokens.special | (tokens.ends <= size),
        starts=np.maximum(tokens.starts - size, 0),
        ends=np.maximum(tokens.ends - size, 0),
        lengths=tokens.lengths - size,
        totals=tokens.totals - size,
    )


def n_before(prompt: str, tokenizer: Tokenizer, *, max_tokens: int) -> int:
    """The tokens that count as the prompt's, those before it included: what it has alone, without the last special one.

    Not quite what it has in front of a text, where its end may merge with the text's beginning; it is what
    sentence-transformers 6.2 leaves out (`Transformer._get_prompt_length`).
    """
    count = min(tokenizer.encode([prompt]).ids.size, max_tokens)
    return count - min(1, tokenizer.n_suffix)
