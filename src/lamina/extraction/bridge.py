"""A model of a family that Lamina does not know, through `transformers`: its counts, its tokenizer, its engine."""

from __future__ import annotations

from typing import Literal

from lamina.engine.batch import Engine, Precision
from lamina.engine.devices import require
from lamina.errors import SpecError
from lamina.model.architecture import Architecture
from lamina.model.checkpoint import Checkpoint
from lamina.text.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_json
from lamina.text.tokenizer_files import TOKENIZER_JSON


def open_bridge(
    checkpoint: Checkpoint, *, precision: Precision | Literal["auto"], device: str, threads: int
) -> tuple[Architecture, Tokenizer, Engine]:
    """The parts of an Extractor. A tokenizer.json is read as for every model; without one the library makes it.

    Raises MissingExtraError, CheckpointError, and EngineError where the machine lacks what was asked for.
    """
    for package in ("torch", "transformers"):
        require(package, engine="transformers")
    from lamina.engine.transformers import TransformersEngine, tokenizer_json

    if precision not in ("auto", *TransformersEngine.precisions):
        raise SpecError(f"engine 'transformers' computes {', '.join(TransformersEngine.precisions)}, not {precision}")
    if (checkpoint.folder / TOKENIZER_JSON).is_file():
        tokenizer = load_tokenizer(checkpoint.folder)
    else:
        tokenizer = tokenizer_from_json(tokenizer_json(checkpoint.folder), str(checkpoint.folder))
    chosen = None if precision == "auto" else precision
    engine = TransformersEngine(checkpoint, precision=chosen, device=device, threads=threads)
    return engine.architecture, tokenizer, engine
