"""A model that is being made smaller: its configuration, its shape, its tensors. Each step makes a new one.

Comes in: a checkpoint. Goes out: a `Draft`, whose tensors are float32 where a step has changed them and the file's
elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lamina.model.architecture import Architecture, Family, architecture_of, family_of
from lamina.model.checkpoint import Checkpoint
from lamina.model.config import config_of, read_config
from lamina.model.inventory import weight_shapes
from lamina.model.weights import FloatArray, Weights, in_memory, read_weights


@dataclass(frozen=True, slots=True)
class Draft:
    """A model in the making.

    config   all of config.json, what Lamina does not look at too.
    weights  what the encoder reads, by canonical name, and the tensors beside it (`others`: task heads).
    changed  the canonical names of the tensors that are no longer the file's.
    """

    checkpoint: Checkpoint
    config: Mapping[str, Any]
    family: Family
    architecture: Architecture
    weights: Weights
    changed: frozenset[str] = frozenset()

    @property
    def blocks(self) -> list[str]:
        """How the names of each layer's tensors begin; those of layers that share weights once."""
        return list(dict.fromkeys(layer.weights for layer in self.architecture.layers))

    def described(self, values: Mapping[str, Any]) -> Architecture:
        """What the model would be with other values for some keys of its config. Raises CheckpointError."""
        return architecture_of(config_of({**self.config, **values}, str(self.checkpoint.config_path)))

    def changed_to(self, values: Mapping[str, Any], tensors: Mapping[str, FloatArray]) -> Draft:
        """The model with other values for some keys of its config, and other tensors; those that the new config does
        not describe are left out. Raises CheckpointError for a value that cannot be."""
        arch = self.described(values)
        held = self.weights.tensors | {name: in_memory(name, array) for name, array in tensors.items()}
        expected = weight_shapes(arch)
        assert all(held[name].shape == shape for name, shape in expected.items())
        return replace(
            self,
            config={**self.config, **values},
            architecture=arch,
            weights=replace(self.weights, tensors={name: held[name] for name in expected}),
            changed=frozenset((self.changed | tensors.keys()) & expected.keys()),
        )


def begin(checkpoint: Checkpoint) -> Draft:
    """A checkpoint as it is. Raises CheckpointError."""
    config = read_config(checkpoint.config_path)
    arch, family = architecture_of(config), family_of(config)
    whole = json.loads(checkpoint.config_path.read_bytes())
    return Draft(checkpoint, whole, family, arch, read_weights(checkpoint.weight_files(), arch, family))
