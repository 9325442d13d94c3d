"""The folder of a trained model: an ordinary checkpoint, beside it what it was trained with; while it is being trained,
the state that the same command goes on from.

`config.json`, `model.safetensors` and the tokenizer's files are what `lamina.load` and `transformers` read.
`training.json` is written last: a folder that has it is finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.dataset.durable import ASIDE, copy_whole, remove, write_json
from lamina.dataset.lock import LOCK
from lamina.errors import TrainedError
from lamina.model.checkpoint import CONFIG, SINGLE, files_beside
from lamina.model.config import MAX_BYTES
from lamina.model.heads import Task
from lamina.model.rewrite import rewritten
from lamina.model.weights import FloatArray
from lamina.train.start import Start
from lamina.train.state import write_tensors

RECORD = "training.json"
STATE = "training.state"
LOGS = "tensorboard"
PROBES = "probes.jsonl"  # how much each layer knew after how many steps (watch.py)
REPORT = "comparison.json"  # a student beside its teacher (comparison.py)

# What `transformers` calls a family's classes, how the names of the encoder's tensors begin under a head, and which of
# the head's tensors are the encoder's there.
CLASSES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "albert": ("Albert", "albert.", ("pooler.",)),
    "bert": ("Bert", "bert.", ("pooler.",)),
    "camembert": ("Camembert", "roberta.", ()),
    "deberta": ("Deberta", "deberta.", ()),
    "deberta-v2": ("DebertaV2", "deberta.", ()),
    "distilbert": ("DistilBert", "distilbert.", ()),
    "electra": ("Electra", "electra.", ()),
    "modernbert": ("ModernBert", "model.", ()),
    "mpnet": ("MPNet", "mpnet.", ()),
    "nomic_bert": ("NomicBert", "nomic_bert.", ("pooler.",)),
    "roberta": ("Roberta", "roberta.", ()),
    "xlm-roberta": ("XLMRoberta", "roberta.", ()),
}
TASK_CLASSES: dict[Task, str] = {
    "sequence_classification": "ForSequenceClassification",
    "token_classification": "ForTokenClassification",
    "question_answering": "ForQuestionAnswering",
    "masked_lm": "ForMaskedLM",
}
OF_LABELS = ("id2label", "label2id", "num_labels", "problem_type")
OF_NUMBERS = ("quantization_config", "torch_dtype", "dtype")
OF_SENTENCES = ("modules.json", "sentence_", "config_sentence_transformers.json", "1_", "2_", "3_")


def check_source(out: Path, source: Path) -> None:
    """Raise TrainedError where a model would be trained into the folder that it is read from."""
    if out.resolve() == source.resolve():
        raise TrainedError(f"{out} holds the model that training begins with: name another folder")


def check_place(out: Path, *, overwrite: bool) -> None:
    """Raise TrainedError where no model may be trained; with `overwrite`, remove what an earlier training wrote."""
    if out.exists() and not out.is_dir():
        raise TrainedError(f"{out} is a file: name a folder")
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    strange = {name for name in held - {LOCK, LOGS} if not name.endswith(ASIDE)}  # what a killed run may leave is ours
    if strange and not held & {RECORD, STATE, PROBES}:
        raise TrainedError(f"{out} is there already, and lamina train has not made it: name another folder")
    if overwrite:
        beside = {Path(name).parts[0] for name, _ in files_beside(out)}  # another model's tokenizer and recipe
        for name in (RECORD, STATE, SINGLE, CONFIG, LOGS, PROBES, REPORT, *beside):
            remove(out / name)


def read_record(out: Path) -> dict[str, Any] | None:
    """What a finished training wrote; None where there is none. Raises TrainedError for a damaged one."""
    path = out / RECORD
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes()) if path.stat().st_size <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TrainedError(f"{path} is damaged: --overwrite starts anew")
    return found


def write_checkpoint(
    out: Path,
    start: Start,
    encoder: Mapping[str, FloatArray],
    head: Mapping[str, FloatArray] | None = None,
    *,
    task: Task | None = None,
    labels: Sequence[str] = (),
    class_name: str | None = None,
) -> str:
    """Write config, weights and tokenizer; the sha256 of the weights comes back.

    encoder     values by canonical name.
    head        tensors by their names in a checkpoint; None: the checkpoint as it was, with other values.
    class_name  of `transformers`, such as `BertForPreTraining`, where the task does not say it.
    """
    tensors = rewritten(start.checkpoint.weight_files(), encoder, start.architecture, start.family)
    if head is not None:
        tensors = _under_head(tensors, start, head)
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    digest = write_tensors(out / SINGLE, arrays, {"format": "pt"})
    config = json.loads(start.checkpoint.config_path.read_bytes())
    if head is not None:
        config = _described(config, start, task, tuple(labels), class_name)
    write_json(out / CONFIG, {key: value for key, value in config.items() if key not in OF_NUMBERS})
    copy_tokenizer(start.checkpoint.folder, out, with_recipe=head is None)
    return digest


def copy_tokenizer(source: Path, out: Path, *, with_recipe: bool) -> None:
    """Copy the tokenizer's files, and those of a sentence-transformers recipe, which a head makes meaningless."""
    for name, path in files_beside(source):
        if with_recipe or not name.startswith(OF_SENTENCES):
            (out / name).parent.mkdir(exist_ok=True)
            copy_whole(path, out / name)


def _under_head(tensors: Mapping[str, Any], start: Start, head: Mapping[str, FloatArray]) -> dict[str, Any]:
    """The encoder's tensors as they are called under a head, and the head's; what another head left is dropped."""
    _, prefix, inside = CLASSES[start.architecture.family]
    kept = {}
    for name, array in tensors.items():
        canonical = start.family.names.canonical(name)
        if start.family.names.split(canonical) or canonical in start.weights.tensors:
            kept[name if name.startswith(prefix) else prefix + name] = array
    return kept | {f"{prefix}{name}" if name.startswith(inside) else name: array for name, array in head.items()}


def _described(
    config: Mapping[str, Any], start: Start, task: Task | None, labels: tuple[str, ...], class_name: str | None
) -> dict[str, Any]:
    described = {key: value for key, value in config.items() if key not in OF_LABELS}
    family_name = CLASSES[start.architecture.family][0]
    described["architectures"] = [class_name or family_name + TASK_CLASSES[task or "masked_lm"]]
    if labels:
        described["id2label"] = {str(i): label for i, label in enumerate(labels)}
        described["label2id"] = {label: i for i, label in enumerate(labels)}
    return described
