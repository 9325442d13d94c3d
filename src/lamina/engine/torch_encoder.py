"""The encoder as a module of torch: it owns its parameters, so that it can be trained.

The forward pass is that of every engine (`model/encoder.py`), over the operations that the torch engine computes with:
what is trained here is what is extracted there. Parameters have our canonical names; `rewrite_weights` writes their
values back under a checkpoint's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lamina.engine.batch import Batch
from lamina.engine.torch_attention import Layout
from lamina.engine.torch_operations import NO_DROPOUT, Dropout, TorchOperations
from lamina.engine.torch_packed import Packed, pack
from lamina.engine.torch_padding import make_padding
from lamina.engine.torch_transfer import sent
from lamina.errors import WeightsError
from lamina.model.architecture import Architecture
from lamina.model.encoder import states
from lamina.model.inventory import weight_shapes
from lamina.model.weights import FloatArray


class Named(Protocol):
    """Values by canonical name: a checkpoint's `Weights`, or a dict."""

    def __getitem__(self, name: str, /) -> FloatArray: ...


class TorchEncoder(nn.Module):
    """An encoder whose parameters are `layers.3.attention.query.weight` and so on, float32.

    While it is training (`module.train()`), it drops what `dropout` says.
    """

    def __init__(self, arch: Architecture, weights: Named, *, dropout: Dropout = NO_DROPOUT) -> None:
        """`weights` by canonical name, copied. Raises WeightsError where one is of another shape."""
        super().__init__()
        self.dropout = dropout
        self.architecture = arch
        self._tables: dict[tuple[Hashable, torch.device], Tensor] = {}
        self.weights = nn.ParameterDict()  # its keys must not have dots
        for name, shape in weight_shapes(arch).items():
            value = weights[name]
            if value.shape != shape:
                raise WeightsError(f"{name} has shape {list(value.shape)}, expected {list(shape)}")
            self.weights[name.replace(".", "/")] = nn.Parameter(torch.from_numpy(value.copy()))

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, batch: Batch, layers: Collection[int]) -> dict[int, Tensor]:
        """The states [T, D] after each of `layers` (0 to n): the tokens of the batch's sequences, in its order, laid
        end to end without padding. Nothing above the highest one is run; the batch's `rows` are not looked at."""
        packed = pack(batch, position_index=self.architecture.position_index)
        bounds, *index = sent([packed.bounds, *packed.index.values()], self.device)
        layout = Layout(packed.groups, bounds, packed.n_tokens, packed.n_rows, self.architecture.max_tokens)
        ops = TorchOperations(
            held=self,
            layout=layout,
            index=dict(zip(packed.index, index, strict=True)),
            dropout_rates=self.dropout if self.training else NO_DROPOUT,
            padding=make_padding(packed, layout),
        )
        order = torch.from_numpy(_batch_order(packed)).to(self.device)
        found = enumerate(islice(states(ops, self.architecture), max(layers) + 1))
        return {k: state.index_select(0, order) for k, state in found if k in layers}

    def named_weights(self) -> dict[str, nn.Parameter]:
        """The parameters by canonical name."""
        return {key.replace("/", "."): parameter for key, parameter in self.weights.items()}

    def values(self) -> dict[str, FloatArray]:
        """A copy of the parameters' values by canonical name, as `rewrite_weights` takes them."""
        return {name: one.detach().float().cpu().numpy().copy() for name, one in self.named_weights().items()}

    def weight(self, name: str) -> Tensor:
        """A parameter by its canonical name."""
        parameter: Tensor = self.weights[name.replace(".", "/")]
        return parameter

    def table(self, key: Hashable, make: Callable[[], npt.NDArray[np.generic]]) -> Tensor:
        """A table that depends on no text, kept on each device."""
        if (key, self.device) not in self._tables:
            with torch.inference_mode(False):  # what is made while evaluating is used again in training
                self._tables[key, self.device] = torch.from_numpy(make()).to(self.device)
        return self._tables[key, self.device]


def _batch_order(packed: Packed) -> npt.NDArray[np.int64]:
    """The packed row of each token, in the order of the batch: [T]."""
    lengths = np.diff(packed.bounds)
    rows = np.split(np.arange(packed.n_tokens), np.cumsum(lengths)[:-1])
    back = np.argsort(packed.order)
    return np.concatenate([rows[b] for b in back])
