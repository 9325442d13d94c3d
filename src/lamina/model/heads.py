"""Task heads: what a checkpoint puts on top of its encoder to classify, to answer, to fill in a mask.

Comes in: a checkpoint's config and tensors. Goes out: a `TaskHead`, a few matrices and norms to be taken in order. A
task is supported for a family if and only if it has a row in `HEADS`. What a head's states are, and the
arithmetic, is `lamina.extraction.head`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lamina.errors import CheckpointError, SpecError, WeightsError
from lamina.model.architecture import ACTIVATIONS, Architecture
from lamina.model.config import Config
from lamina.model.operations import Activation
from lamina.model.weights import ITEM_BYTES, FloatArray, StoredTensor, Weights

Task = Literal["sequence_classification", "token_classification", "question_answering", "masked_lm"]
Width = Literal["encoder", "embedding", "labels", "vocabulary"]

TASKS: tuple[Task, ...] = get_args(Task)
WORD_TABLE = "embeddings.word.weight"

# What `architectures` in a config says after the family's name. A class that is not here has no row below either.
CLASSES: dict[str, Task] = {
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
    "ForQuestionAnswering": "question_answering",
    "ForMaskedLM": "masked_lm",
    "ForPreTraining": "masked_lm",  # BERT's and ALBERT's, of which it is a half
}


@dataclass(frozen=True, slots=True)
class Linear:
    """x Wᵀ + b, then the activation. weight [D_out, D_in], bias [D_out]."""

    weight: FloatArray
    bias: FloatArray | None
    activation: Activation | None


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation. weight, bias [D]."""

    weight: FloatArray
    bias: FloatArray | None
    eps: float


@dataclass(frozen=True, slots=True)
class TaskHead:
    """A head, read.

    pool    what it takes of a text: the state of each `token`, of the first one (`cls`), or their `mean`.
    labels  the names of its numbers; none for a masked language model, whose are the vocabulary's.
    steps   what is done to a state [D], the first first.
    below   what is done before to the states of a layer below the last: the last norm of a pre-norm encoder, which
            only the last layer has been through. Source: nostalgebraist 2020 (interpreting GPT: the logit lens).
    """

    task: Task
    pool: Literal["token", "cls", "mean"]
    labels: tuple[str, ...]
    steps: tuple[Linear | Norm, ...]
    below: tuple[Norm, ...]


@dataclass(frozen=True, slots=True)
class LinearRow:
    """How a family calls a linear layer, how wide its result is.

    activation  one of `ACTIVATIONS`, `encoder` for the encoder's own, or the config key that names it.
    bias        its tensor's name where it is not stored with the layer: files leave out what is tied to another tensor.
    bias_key    the config key that says whether there is a bias, and what it says where it is left out.
    """

    name: str
    width: Width
    activation: str | None = None
    bias: str | None = None
    bias_key: tuple[str, bool] | None = None


@dataclass(frozen=True, slots=True)
class NormRow:
    """How a family calls a norm."""

    name: str


@dataclass(frozen=True, slots=True)
class HeadRow:
    """A row of the table. `pool_key`: the config key that names the pool, which is `pool` where it is left out."""

    steps: tuple[LinearRow | NormRow, ...]
    pool: Literal["token", "cls"] = "token"
    pool_key: str | None = None


def _masked_lm(dense: str, norm: str, decoder: str, bias: str | None = None, activation: str = "encoder") -> HeadRow:
    """Devlin et al. 2019: a transform, then the embedding table the other way round."""
    return HeadRow((
        LinearRow(dense, "embedding", activation), NormRow(norm), LinearRow(decoder, "vocabulary", bias=bias),
    ))  # fmt: skip


def _sequence(dense: str, activation: str, last: str = "classifier") -> HeadRow:
    return HeadRow((LinearRow(dense, "encoder", activation), LinearRow(last, "labels")), pool="cls")


_TOKENS = HeadRow((LinearRow("classifier", "labels"),))
_ANSWERS = HeadRow((LinearRow("qa_outputs", "labels"),))
_POOLED = _sequence("pooler.dense", "tanh")
_CONTEXT = _sequence("pooler.dense", "pooler_hidden_act")
_SMALL_NETWORK = _sequence("classifier.dense", "tanh", "classifier.out_proj")
_BERT_MASKED = _masked_lm(
    "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder",
    "cls.predictions.bias",
)  # fmt: skip
_ROBERTA_MASKED = _masked_lm("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.bias", "gelu")
_MODERN = (LinearRow("head.dense", "encoder", "classifier_activation", bias_key=("classifier_bias", False)),
           NormRow("head.norm"))  # fmt: skip
_MODERN_LABELS = (*_MODERN, LinearRow("classifier", "labels"))

_BERT: dict[Task, HeadRow] = {
    "sequence_classification": _POOLED,
    "token_classification": _TOKENS,
    "question_answering": _ANSWERS,
    "masked_lm": _BERT_MASKED,
}
_ROBERTA = _BERT | {"sequence_classification": _SMALL_NETWORK, "masked_lm": _ROBERTA_MASKED}
_DEBERTA = _BERT | {"sequence_classification": _CONTEXT}

# Family and task: how the head is built.
HEADS: dict[str, dict[Task, HeadRow]] = {
    "albert": _BERT | {
        "sequence_classification": _sequence("pooler", "tanh"),
        "masked_lm": _masked_lm(
            "predictions.dense", "predictions.LayerNorm", "predictions.decoder", "predictions.bias"
        ),
    },
    "bert": _BERT,
    "camembert": _ROBERTA,
    "deberta": _DEBERTA,
    "deberta-v2": _DEBERTA,
    "distilbert": _BERT | {
        "sequence_classification": _sequence("pre_classifier", "relu"),
        "masked_lm": _masked_lm("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    },
    "electra": _BERT | {
        "sequence_classification": _sequence("classifier.dense", "gelu", "classifier.out_proj"),
        "masked_lm": _masked_lm(
            "generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head", activation="gelu"
        ),
    },
    "modernbert": {
        "sequence_classification": HeadRow(_MODERN_LABELS, pool="cls", pool_key="classifier_pooling"),
        "token_classification": HeadRow(_MODERN_LABELS),
        "question_answering": HeadRow(_MODERN_LABELS),
        "masked_lm": HeadRow((*_MODERN, LinearRow("decoder", "vocabulary", bias_key=("decoder_bias", True)))),
    },
    "mpnet": _ROBERTA,
    "nomic_bert": {
        "sequence_classification": _POOLED,
        "token_classification": _TOKENS,
        "masked_lm": _masked_lm(
            "cls.predictions.transform.dense", "cls.predictions.transform.layer_norm", "cls.predictions.decoder",
            "cls.predictions.bias",
        ),
    },
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}  # fmt: skip


def read_head(name: str | None, config: Config, arch: Architecture, weights: Weights) -> TaskHead:
    """The head of a task, None for the one that the checkpoint has.

    Raises SpecError for a name that is no task, CheckpointError for a head that the checkpoint has not, or that is not
    supported, WeightsError with one report of every tensor that is missing or misshaped.
    """
    if name is not None and name not in TASKS:
        raise SpecError(f"head must be one of {', '.join(TASKS)}, or None for the checkpoint's own, not {name!r}")
    rows = HEADS.get(arch.family, {})
    classes = [name for name in config.optional("architectures", []) if "For" in name]
    if name is None:
        task = _declared(classes, config) if classes else _only_one(rows, config, arch, weights)
    else:
        task = next(task for task in TASKS if task == name)
        if classes and task not in [_task_of(declared) for declared in classes]:
            raise CheckpointError(f"{config.source} says that its head is that of {classes[0]}, not of {task}")
    if task not in rows:
        known = ", ".join(rows) or "none"
        raise CheckpointError(f"{config.source}: no {task} head is known of {arch.family}; supported: {known}")
    head, problems = _read(task, rows[task], config, arch, weights)
    if problems:
        others = ", ".join(sorted(weights.unused)[:8]) or "none"
        raise WeightsError(
            f"the checkpoint of {config.source} does not hold the head {task}: {'; '.join(problems)} (stored beside "
            f"the encoder's: {others})"
        )
    return head


def _task_of(name: str) -> Task | None:
    """The task of a class of transformers: `BertForMaskedLM`."""
    return CLASSES.get(name[name.index("For") :])


def _declared(classes: list[str], config: Config) -> Task:
    for name in classes:
        task = _task_of(name)
        if task is not None:
            return task
    raise CheckpointError(
        f"{config.source} says that its head is that of {classes[0]}, which is not supported: {', '.join(CLASSES)} are"
    )


def _only_one(rows: Mapping[Task, HeadRow], config: Config, arch: Architecture, weights: Weights) -> Task:
    """The one task whose tensors are there, where the config names no head."""
    found = [task for task, row in rows.items() if not _read(task, row, config, arch, weights)[1]]
    if len(found) != 1:
        which = f"the tensors fit {' and '.join(found)}: name one" if found else "no head's tensors are there"
        raise CheckpointError(f"{config.source} names no head in its architectures, and {which}")
    return found[0]


def _read(task: Task, row: HeadRow, config: Config, arch: Architecture, weights: Weights) -> tuple[TaskHead, list[str]]:
    """A head, and what is wrong with its tensors: where anything is, it must not be used."""
    labels = _labels(task, config)
    tensors = _Tensors(weights, [])
    widths: dict[Width, int] = {
        "encoder": arch.width,
        "embedding": arch.embedding_width or arch.width,
        "labels": len(labels),
        "vocabulary": arch.vocab_size,
    }
    width, steps = arch.width, list[Linear | Norm]()
    has_bias = "norm" not in arch.without_bias
    for step in row.steps:
        if isinstance(step, NormRow):
            bias = tensors.read(f"{step.name}.bias", (width,)) if has_bias else None
            steps.append(Norm(tensors.read(f"{step.name}.weight", (width,)), bias, arch.eps))
        else:
            steps.append(_linear(step, width, widths[step.width], tensors, config, arch))
            width = widths[step.width]
    below: tuple[Norm, ...] = ()
    if arch.pre_norm:
        below = (Norm(weights["norm.weight"], weights["norm.bias"] if has_bias else None, arch.eps),)
    pool = config.optional(row.pool_key, row.pool) if row.pool_key else row.pool
    return TaskHead(task, pool, labels, tuple(steps), below), tensors.problems


def _linear(row: LinearRow, n_in: int, n_out: int, tensors: _Tensors, config: Config, arch: Architecture) -> Linear:
    tied = WORD_TABLE if row.width == "vocabulary" else None
    weight = tensors.read(f"{row.name}.weight", (n_out, n_in), instead=tied)
    bias = None
    if row.bias_key is None or config.optional(*row.bias_key):
        bias = tensors.read(f"{row.name}.bias", (n_out,), instead=row.bias)
    if row.activation is None:
        activation = None
    elif row.activation == "encoder":
        activation = arch.activation
    else:  # a config that leaves its key out means GELU, as `transformers` has it
        word = row.activation
        activation = ACTIVATIONS[word if word in ACTIVATIONS else config.optional(word, "gelu")]
    return Linear(weight, bias, activation)


def _labels(task: Task, config: Config) -> tuple[str, ...]:
    if task == "masked_lm":
        return ()
    if task == "question_answering":
        return ("start", "end")
    named = config.optional("id2label", None)
    if named is None:  # 2: what `transformers` takes, and leaves out of the file
        return tuple(f"LABEL_{i}" for i in range(config.optional("num_labels", 2)))
    return tuple(str(named[str(i)]) for i in range(len(named)))


@dataclass(frozen=True, slots=True)
class _Tensors:
    """A checkpoint's tensors beside the encoder's; `problems` fills with what is wrong with those read."""

    weights: Weights
    problems: list[str]

    def read(self, name: str, shape: tuple[int, ...], *, instead: str | None = None) -> FloatArray:
        """A tensor, or the one that stands in for it."""
        tensor = self._find(name) or (self._find(instead) if instead else None)
        if tensor is None:
            self.problems.append(f"{name} {list(shape)} is missing")
        elif tensor.shape != shape:
            self.problems.append(f"{tensor.name} has shape {list(tensor.shape)}, expected {list(shape)}")
        elif tensor.dtype not in ITEM_BYTES:
            self.problems.append(f"{tensor.name} is of type {tensor.dtype}, expected one of {', '.join(ITEM_BYTES)}")
        else:
            return tensor.float32()
        return np.zeros((0,) * len(shape), np.float32)

    def _find(self, name: str) -> StoredTensor | None:
        return self.weights.others.get(name) or self.weights.tensors.get(name)
