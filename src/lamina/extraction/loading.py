"""Loading: from a model's name to an extractor. What does not fit together is found here, before a text is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from lamina.engine.batch import Precision
from lamina.engine.threads import available_threads
from lamina.errors import CheckpointError, SpecError
from lamina.extraction.bridge import open_bridge
from lamina.extraction.engines import ENGINES, PRECISIONS, Model, make_engine, texts_of
from lamina.extraction.extractor import Extractor
from lamina.model.architecture import Architecture, architecture_of, family_of
from lamina.model.checkpoint import Checkpoint, find_checkpoint
from lamina.model.config import read_config
from lamina.model.weights import read_weights
from lamina.text.tokenizer import Tokenizer, load_tokenizer


def load(
    name: str | Path,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: Precision | Literal["auto"] = "float32",
    threads: int | None = None,
    revision: str | None = None,
    calibrate_on: Iterable[str] | None = None,
) -> Extractor:
    """Load a pretrained encoder: `minilm` (bundled), a folder, or a hub id such as `bert-base-uncased`.

    engine        `openvino`; `torch` (GPUs; the CPU too); `reference` (numpy: slow, obvious); `auto`: torch where there
                  is a GPU that it sees, else openvino; or `transformers`, for a family that Lamina does not know: any
                  encoder that this library has, slower.
    device        `auto`, `cpu`, `cuda` (every GPU there is), `cuda:1` (one of them) or `mps`.
    precision     `float32`, `tf32` (GPUs), `bfloat16`, `float16`, `int8`; or `auto`, the fastest native one that keeps
                  every layer's cosine with float32 above 0.9995 (measured once for a model and machine).
    threads       None: what the affinity mask and the control group allow.
    revision      a hub model's branch, tag or commit.
    calibrate_on  for `int8`: texts like those to come, of which at most 512 are read; None: texts in many languages
                  that come with Lamina.

    Raises SpecError for a word that names no engine, device or precision, CheckpointError where the model cannot be
    found or is refused, MissingExtraError and EngineError where the machine lacks what was asked for.
    """
    if engine not in ENGINES:
        raise SpecError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    if precision not in PRECISIONS:
        raise SpecError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if threads is not None and threads < 1:
        raise SpecError(f"threads must be at least 1, not {threads}")
    checkpoint = find_checkpoint(name, revision=revision)
    threads = threads or available_threads()
    if engine == "transformers":
        arch, tokenizer, made = open_bridge(checkpoint, precision=precision, device=device, threads=threads)
        _check_vocabulary(tokenizer, arch, checkpoint)
        return Extractor(checkpoint, arch, tokenizer, made)
    config = read_config(checkpoint.config_path)
    arch = architecture_of(config)
    weights = read_weights(checkpoint.weight_files(), arch, family_of(config))
    tokenizer = load_tokenizer(checkpoint.folder)
    _check_vocabulary(tokenizer, arch, checkpoint)
    model = Model(checkpoint, arch, weights, tokenizer, texts_of(calibrate_on))
    made = make_engine(engine, model, device=device, precision=precision, threads=threads)
    return Extractor(checkpoint, arch, tokenizer, made)


def _check_vocabulary(tokenizer: Tokenizer, arch: Architecture, checkpoint: Checkpoint) -> None:
    if tokenizer.n_ids > arch.vocab_size:
        raise CheckpointError(
            f"{tokenizer.source} gives token ids up to {tokenizer.n_ids - 1:,}, but {checkpoint.config_path} describes "
            f"a vocabulary of {arch.vocab_size:,}: the tokenizer does not belong to this model"
        )
