"""`compress`: a checkpoint in, a smaller checkpoint out, with what it cost.

The order of the steps: layers are cut off, heads removed, the feed-forward split into factors, and the numbers stored
in fewer bits. What must be fitted is fitted on the model as the steps before have left it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lamina.compress.cost import Cost, cost_of
from lamina.compress.depth import cut
from lamina.compress.draft import Draft, begin
from lamina.compress.folder import RECORD, check_place, read_record, whole_folder, write_model
from lamina.compress.heads import CRITERION, remove
from lamina.compress.low_rank import rank_of, split
from lamina.compress.moments import TextTokens
from lamina.compress.storing import PRECISIONS, StoredPrecision, pieces
from lamina.compress.texts import Texts, texts_of
from lamina.dataset.durable import write_json
from lamina.errors import SpecError
from lamina.extraction.loading import load
from lamina.model.checkpoint import BUNDLED, Checkpoint
from lamina.text.text import as_text
from lamina.text.tokenizer import Tokenizer

READ = "transformers reads the 8-bit weights through the package compressed-tensors"


@dataclass(frozen=True, slots=True)
class Smaller:
    """A model that was written.

    record  what was done, to what: the JSON that lies beside the weights.
    notes   what whoever uses it should know.
    """

    folder: Path
    record: dict[str, Any]
    cost: Cost
    notes: tuple[str, ...]

    @property
    def what(self) -> str:
        """What was done, in words."""
        done = self.record
        layers, heads = done["layers"], done["heads"]
        said = [f"{layers['kept']} of {layers['of']} layers"]
        if heads:
            kept = [len(of_layer) for of_layer in heads["kept"]]
            each = f"{kept[0]}" if len({*kept}) == 1 else f"{', '.join(map(str, kept))}"
            said.append(f"{each} of {heads['of']} heads a layer")
        if done["ffn_rank"]:
            said.append(f"feed-forward of rank {done['ffn_rank']}")
        if done["precision"]:
            said.append(f"weights in {done['precision']}")
        return f"{done['source']['model']} with {', '.join(said)}"


def compress(
    model: str | Path,
    out: str | Path,
    *,
    layers: int | None = None,
    heads: int | str | None = None,
    ffn_rank: int | str | None = None,
    precision: StoredPrecision | None = None,
    compatible: bool = False,
    sample: Iterable[str] | None = None,
    revision: str | None = None,
    overwrite: bool = False,
) -> Smaller:
    """Write a smaller model into the folder `out`, and measure what that cost, layer by layer.

    model       as for `lamina.load`: `minilm`, a folder, a hub id with a `revision`.
    layers      how many to keep, the lowest; None: all.
    heads       how many to keep of each layer (8), or which share of all ("75%"); None: all.
    ffn_rank    the rank of the feed-forward's matrices (192), or which share of their numbers to keep ("60%").
    precision   of the weights: float32, float16, bfloat16 or int8; None: as they are.
    compatible  only what transformers reads, too: heads removed are zeros, factors are multiplied out, so neither makes
                the model smaller or faster.
    sample      texts like those to come, to calibrate and measure on; None: those built in.
    overwrite   replace a folder that this function has made before.

    Raises SpecError for what cannot be asked of this model, CheckpointError for a model that cannot be read or a folder
    that cannot be written, WeightsError for numbers that the precision cannot hold.
    """
    asked = (layers, heads, ffn_rank, precision)
    if all(one is None for one in asked):
        raise SpecError("nothing to do: say how many layers or heads to keep, an ffn_rank, or a precision")
    if precision is not None and precision not in PRECISIONS:
        raise SpecError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    texts, out = texts_of(sample), Path(out)
    loaded = load(model, engine="reference", revision=revision)  # checks everything, compiles nothing
    check_place(out, loaded.checkpoint.folder, overwrite=overwrite)
    original = begin(loaded.checkpoint)
    draft = original if layers is None else cut(original, layers)
    calibration = _tokens(loaded.tokenizer, texts.calibration, original.architecture.max_tokens)
    rank = None if ffn_rank is None else rank_of(draft, amount("ffn_rank", ffn_rank))
    left = None
    if heads is not None:
        draft, left = remove(draft, amount("heads", heads), calibration, compatible=compatible)
    if rank is not None:
        draft = split(draft, rank, calibration, compatible=compatible)
    made = pieces(draft, precision)
    record = _record(original, texts) | {
        "layers": {"kept": draft.architecture.n_layers, "of": original.architecture.n_layers},
        "heads": left and {"kept": left, "of": draft.architecture.n_heads, "criterion": CRITERION},
        "ffn_rank": rank,
        "precision": precision,
        "compatible": compatible,
    }
    with whole_folder(out, overwrite=overwrite) as folder:
        record["weights_sha256"] = write_model(folder, draft, made, precision)
        cost = cost_of(original, begin(Checkpoint(str(out), folder)), loaded.tokenizer, texts.measured)
        record["cost"] = {"bytes": cost.after.bytes, "bytes_before": cost.before.bytes, "rows": cost.rows()}
        write_json(folder / RECORD, record)
    return Smaller(out, record, cost, notes_on(original, draft, record))


def notes_on(original: Draft, draft: Draft, record: Mapping[str, Any]) -> tuple[str, ...]:
    """What whoever uses the model should know, in sentences."""
    arch, n = original.architecture, draft.architecture.n_layers
    is_cut, is_changed = n < arch.n_layers, bool(record["heads"] or record["ffn_rank"])
    classes = " ".join(map(str, original.config.get("architectures") or []))
    is_masked_lm = "ForMaskedLM" in classes or "ForPreTraining" in classes
    is_read = record["precision"] == "int8" and (record["compatible"] or not is_changed)
    pools = (original.checkpoint.folder / "modules.json").is_file()
    notes = (
        (is_cut and "For" in classes, f"The task head is kept and now reads layer {n}, which it was not trained on."),
        (is_cut and pools, f"What sentence-transformers and pool='model' make of a text now comes from layer {n}."),
        (is_cut and arch.pre_norm, f"The last norm now comes after layer {n}, and is part of that layer's states."),
        (
            is_changed and not record["compatible"],
            "transformers cannot read this form and says so; --compatible writes one that it reads, no smaller.",
        ),
        (
            is_changed and record["compatible"],
            "Removed heads are zeros and factors are multiplied out: what transformers reads, no smaller, no faster.",
        ),
        (is_read and not is_masked_lm, f"{READ}."),
        (is_read and is_masked_lm, f"{READ}; the head with CompressedTensorsConfig(dequantize=True)."),
    )
    return tuple(sentence for applies, sentence in notes if applies)


def amount(name: str, value: int | str) -> int | float:
    """A number (8, "8") as an int, or a share ("75%") as a float. Raises SpecError for anything else."""
    if type(value) is int:
        return value
    found = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?) ?%", value.strip()) if isinstance(value, str) else None
    if found is None or (found[2] and not 0 < float(found[2]) <= 100):
        raise SpecError(
            f"{name} must be a whole number or a share such as 75%, above 0 % and up to 100 %, not {value!r}"
        )
    return int(found[1]) if found[1] else float(found[2]) / 100


def _tokens(tokenizer: Tokenizer, texts: Sequence[str], longest: int) -> list[TextTokens]:
    """Each text as the model reads it, as far as it fits one window. Raises SpecError where there is no token."""
    tokens = tokenizer.encode([as_text(text) for text in texts])
    starts_and_ends = pairwise(tokens.bounds.tolist())
    cuts = [slice(start, min(end, start + longest)) for start, end in starts_and_ends if end > start]
    if not cuts:
        raise SpecError("the sample's texts hold no token that this model knows")
    return [(tokens.ids[cut].astype(np.int32), tokens.types[cut].astype(np.int32)) for cut in cuts]


def _record(original: Draft, texts: Texts) -> dict[str, Any]:
    """What a model was made of, as it is kept beside the weights."""
    source = original.checkpoint
    is_path = source.revision is None and source.name not in BUNDLED
    earlier = read_record(source.folder)
    return {
        "made_by": f"lamina {version('lamina')}",
        "source": {
            "model": source.folder.resolve().name if is_path else source.name,  # a path says nothing elsewhere
            "revision": source.revision,
            "weights_sha256": source.weights_sha256(),
            **({"made_from": earlier} if earlier else {}),
        },
        "texts": {"source": texts.source, "sha256": texts.sha256},
    }
