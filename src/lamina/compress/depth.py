"""Fewer layers: the upper ones are cut off, and those left give the states that they gave before.

One exception, which the format forces: in a pre-norm encoder (ModernBERT) the last norm comes after the last layer, so
now after the last one left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lamina.compress.draft import Draft
from lamina.errors import SpecError

NUMBER = {"distilbert": "n_layers"}  # what a family calls its number of layers, if not num_hidden_layers
BY_LAYER = ("layer_types", "lamina_heads")  # keys that hold an entry for each layer


def cut(draft: Draft, layers: int) -> Draft:
    """The model with its lowest `layers` layers. Raises SpecError for a number that it cannot have."""
    n = draft.architecture.n_layers
    if type(layers) is not int or not 1 <= layers <= n:
        raise SpecError(f"layers must be from 1 to {n}, the layers of {draft.checkpoint.name}, not {layers!r}")
    values = _shorter(draft, layers)
    if values is None:
        possible = [str(k) for k in range(1, n) if _shorter(draft, k) is not None]
        raise SpecError(
            f"{draft.checkpoint.name} cannot be cut to {layers} layers: its layers share weights in groups, which its "
            f"config.json divides evenly among them; possible: {', '.join(possible) or 'none'}"
        )
    return draft.changed_to(values, {})


def _shorter(draft: Draft, layers: int) -> dict[str, Any] | None:
    """What the config must say for the lowest layers alone; None where it has no words for that."""
    wanted = draft.architecture.layers[:layers]
    return next((values for values in _tries(draft, layers) if draft.described(values).layers == wanted), None)


def _tries(draft: Draft, layers: int) -> Iterator[dict[str, Any]]:
    lists = {key: draft.config[key][:layers] for key in BY_LAYER if draft.config.get(key) is not None}
    if draft.architecture.family != "albert":
        yield {NUMBER.get(draft.architecture.family, "num_hidden_layers"): layers, **lists}
        return
    n_inner = draft.config.get("inner_group_num") or 1
    repeated = layers // n_inner
    for groups in range(min(draft.config.get("num_hidden_groups") or 1, repeated), 0, -1):
        if repeated * n_inner == layers:
            yield {"num_hidden_layers": repeated, "num_hidden_groups": groups, **lists}
