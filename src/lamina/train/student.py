"""A student: a checkpoint made of some of a teacher's layers, before it has learnt anything of its own.

Comes in: the teacher, and which of its layers. Goes out: an ordinary folder with the teacher's embeddings, head,
tokenizer and those layers, numbered anew (Sanh et al. 2019, section 3: every other layer is a good beginning).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lamina.dataset.durable import make_folder, write_json
from lamina.errors import SpecError
from lamina.model.architecture import architecture_of
from lamina.model.checkpoint import CONFIG, SINGLE
from lamina.model.config import config_of
from lamina.model.rewrite import rewritten
from lamina.train.folder import OF_NUMBERS, copy_tokenizer
from lamina.train.start import Start, begin
from lamina.train.state import write_tensors

NUMBER = {"distilbert": "n_layers"}  # what a family calls its number of layers, if not num_hidden_layers
BY_LAYER = ("layer_types", "lamina_heads")  # keys that hold an entry for each layer


def spread(n: int, of: int) -> tuple[int, ...]:
    """n of so many layers, evenly, the last one among them: 3 of 6 are (2, 4, 6). Raises SpecError."""
    if not 1 <= n <= of:
        raise SpecError(f"layers must be from 1 to {of}, the teacher's, not {n}")
    return tuple(round((k + 1) * of / n) for k in range(n))


def begin_student(teacher: Start, layers: Sequence[int], folder: Path) -> Start:
    """A student, written into a folder and read. Raises SpecError."""
    write_student(teacher, layers, folder)
    start = begin(folder)
    return replace(start, checkpoint=replace(start.checkpoint, name=f"a student of {teacher.checkpoint.name}"))


def write_student(teacher: Start, layers: Sequence[int], folder: Path) -> None:
    """Write the folder of a student with the teacher's `layers`, 1 to n, ascending.

    Raises SpecError for layers that the teacher lacks, or that cannot follow one another in its family.
    """
    config = _config(teacher, layers)
    tensors = rewritten(teacher.checkpoint.weight_files(), {}, teacher.architecture, teacher.family)
    names = teacher.family.names
    kept = {}
    for name, array in tensors.items():
        found = re.match(r"layers\.(\d+)\.", names.canonical(name))
        if found is None:
            kept[name] = array
        elif int(found[1]) + 1 in layers:
            place = layers.index(int(found[1]) + 1)
            kept[re.sub(rf"(^|\.){found[1]}\.", rf"\g<1>{place}.", name, count=1)] = array
    make_folder(folder)
    write_json(folder / CONFIG, config)
    write_tensors(folder / SINGLE, kept, {"format": "pt"})
    copy_tokenizer(teacher.checkpoint.folder, folder, with_recipe=True)


def _config(teacher: Start, layers: Sequence[int]) -> dict[str, Any]:
    """The student's config.json."""
    arch = teacher.architecture
    if not layers or list(layers) != sorted(set(layers)) or not 1 <= layers[0] <= layers[-1] <= arch.n_layers:
        raise SpecError(f"layers must be some of 1 to {arch.n_layers}, the teacher's, ascending, not {list(layers)}")
    config = json.loads(teacher.checkpoint.config_path.read_bytes())
    config = {key: value for key, value in config.items() if key not in OF_NUMBERS}
    config[NUMBER.get(arch.family, "num_hidden_layers")] = len(layers)
    for key in BY_LAYER:
        if config.get(key) is not None:
            config[key] = [config[key][layer - 1] for layer in layers]
    if arch.family == "modernbert" and config.get("layer_types") is None:
        windows = [arch.layers[layer - 1].attention.window for layer in layers]
        config["layer_types"] = ["full_attention" if window is None else "sliding_attention" for window in windows]
    found = architecture_of(config_of(config, str(teacher.checkpoint.config_path))).layers
    wanted = [arch.layers[layer - 1] for layer in layers]
    alike = [(one.attention, one.attention_norm) for one in found] == [(o.attention, o.attention_norm) for o in wanted]
    if not alike or len({layer.weights for layer in arch.layers}) < arch.n_layers:
        raise SpecError(
            f"a student with layers {', '.join(map(str, layers))} of this {arch.family} cannot be written down: "
            + ("its layers share weights" if alike else "its config has no words for them; layer 1 must be among them")
        )
    return config
