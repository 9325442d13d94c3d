"""What Lamina is compared with: transformers' own BERT in float32, one text at a time, without padding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Oracle:
    """A checkpoint in transformers."""

    model: Any
    tokenizer: Any

    def ids(self, text: str, *, max_tokens: int | None = None) -> list[int]:
        """The token ids, special ones included, cut to `max_tokens`."""
        cut = {} if max_tokens is None else {"truncation": True, "max_length": max_tokens}
        return list(self.tokenizer(text, **cut)["input_ids"])

    def states(self, ids: list[int], types: list[int] | None = None) -> list[Float32]:
        """The state of each layer 0 to n, [T, D] each; `types` are the segments of a pair."""
        import torch

        with torch.inference_mode():
            segments = None if types is None else torch.tensor([types])
            found = self.model(torch.tensor([ids]), token_type_ids=segments, output_hidden_states=True)
        assert np.array_equal(found.hidden_states[-1], found.last_hidden_state)
        return [state[0].numpy() for state in found.hidden_states]


def load_oracle(folder: Path) -> Oracle:
    """A model folder in transformers, eager attention, float32."""
    import torch
    from transformers import BertModel, BertTokenizerFast

    torch.set_num_threads(1)  # its idle threads would spin beside the engine's
    model = BertModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    return Oracle(model, BertTokenizerFast.from_pretrained(folder))


def relative_error(found: Float32, expected: Float32) -> float:
    """The L2 norm of the difference over that of what was expected."""
    return float(np.linalg.norm(found.astype(np.float64) - expected) / np.linalg.norm(expected.astype(np.float64)))


def largest_error(found: Float32, expected: Float32) -> float:
    """The largest difference of any number, in units of the root mean square of what was expected."""
    rms = np.sqrt(np.mean(expected.astype(np.float64) ** 2))
    return float(np.abs(found.astype(np.float64) - expected).max() / rms)
