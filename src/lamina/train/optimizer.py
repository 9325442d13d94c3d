"""Which parameters learn, how fast each layer's do, and how the rate changes over a run.

Comes in: a module that holds a `TorchEncoder`, and `Settings`. Goes out: AdamW (Loshchilov and Hutter 2019) over groups
of parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi
from re import match

import torch
from torch import nn

from lamina.engine.torch_encoder import TorchEncoder
from lamina.errors import SpecError
from lamina.train.settings import Settings

BETAS, EPS = (0.9, 0.999), 1e-8


@dataclass(frozen=True, slots=True)
class Placed:
    """A parameter that learns: its name in the module; its layer (0: embeddings) of how many, None: the head's."""

    name: str
    parameter: nn.Parameter
    layer: int | None
    n_layers: int


def freeze(module: nn.Module, k: int | None) -> None:
    """Let the embeddings and the first k layers of the module's encoders learn nothing. Raises SpecError."""
    if k is None:
        return
    for one in _placed(module):
        if one.layer is None:
            continue
        if k > one.n_layers:
            raise SpecError(f"freeze must be at most {one.n_layers}, the layers there are, not {k}")
        if one.layer <= k:
            one.parameter.requires_grad_(False)


def learning(module: nn.Module) -> list[Placed]:
    """The parameters that learn."""
    return [one for one in _placed(module) if one.parameter.requires_grad]


def new_optimizer(module: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW, a group for each rate and decay; a group's `highest` is what its rate follows. Raises SpecError."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for one in learning(module):
        decay = settings.weight_decay if one.parameter.ndim > 1 else 0.0  # not biases and norms
        groups.setdefault((_rate(one, settings), decay), []).append(one.parameter)
    if not groups:
        raise SpecError("nothing is left to learn: every parameter is frozen")
    described = [
        {"params": parameters, "lr": rate, "highest": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
    return torch.optim.AdamW(described, betas=BETAS, eps=EPS, fused=True)  # on 2 cores 3 times as fast as a loop


def set_rates(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Set every group's rate to a share of its highest."""
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * share


def rate_share(step: int, n_steps: int, settings: Settings) -> float:
    """The share of the highest rate at a step, counted from 1: up along a line, then down as `schedule` says."""
    n_warm = round(settings.warmup * n_steps)
    if step <= n_warm:
        return step / n_warm
    if settings.schedule == "constant":
        return 1.0
    done = (step - 1 - n_warm) / max(1, n_steps - n_warm)  # the last step still learns something
    return 1 - done if settings.schedule == "linear" else (1 + cos(pi * done)) / 2


def _rate(one: Placed, settings: Settings) -> float:
    if one.layer is None:
        return settings.head_rate or settings.learning_rate
    return float(settings.learning_rate * settings.layer_decay ** (one.n_layers - one.layer))


def _placed(module: nn.Module) -> Iterator[Placed]:
    """Every parameter once, with its layer where it is an encoder's."""
    layers: dict[int, tuple[int, int]] = {}
    for encoder in module.modules():
        if isinstance(encoder, TorchEncoder):
            n_layers = encoder.architecture.n_layers
            for name, parameter in encoder.named_weights().items():
                layers[id(parameter)] = _layer(name, n_layers), n_layers
    for name, parameter in module.named_parameters():
        layer, n_layers = layers.get(id(parameter), (None, 0))
        yield Placed(name, parameter, layer, n_layers)


def _layer(name: str, n_layers: int) -> int:
    """The layer of an encoder's weight by its canonical name; layers that share weights are the lowest of them."""
    found = match(r"layers\.(\d+)\.", name)
    if found:
        return min(int(found[1]) + 1, n_layers)
    return n_layers if name.startswith("norm.") else 1 if name.startswith("convolution.") else 0
