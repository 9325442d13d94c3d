"""How it is learnt: every knob of a training run, checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal, get_args

from lamina.errors import SpecError

Schedule = Literal["linear", "cosine", "constant"]
TrainPrecision = Literal["auto", "float32", "bfloat16"]

# Where a run is computed and how often it is saved changes nothing of what is learnt: a run may go on with others.
INCIDENTAL = ("device", "save_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The knobs of a run.

    epochs             times that every example is seen; ignored where `steps` is given.
    steps              of the optimizer.
    batch_size         examples of a step.
    batch_tokens       the most tokens computed at once: a larger step is computed in parts, whose gradients add up.
                       None: as many as the device has room for.
    learning_rate      at its highest, of the last layer.
    head_rate          that of the head, None: the same.
    layer_decay        what the rate of each layer is multiplied with for every layer above it (Howard and Ruder 2018).
    warmup             the share of the steps over which the rate rises from 0.
    schedule           how it then falls: to 0 along a line or a cosine, or not.
    weight_decay       not on biases and norms.
    clip               the largest norm of a gradient; longer ones are shortened to it.
    dropout            of states; None: what the checkpoint's config says.
    attention_dropout  of attention weights; None: likewise.
    freeze             None: everything learns; 0: the embeddings do not; k: nor do the first k layers.
    precision          of products: auto takes bfloat16 where the device has it. Weights are float32 throughout.
    device             auto, cpu, cuda, cuda:1 or mps.
    seed               of everything that is drawn.
    evaluate_every     steps; None: after each epoch.
    patience           evaluations without a better figure after which the run ends; None: it goes to its end.
    save_seconds       how often, at most, the state is written that a run goes on from.
    """

    epochs: int = 3
    steps: int | None = None
    batch_size: int = 32
    batch_tokens: int | None = None
    learning_rate: float = 5e-5
    head_rate: float | None = None
    layer_decay: float = 1.0
    warmup: float = 0.1
    schedule: Schedule = "linear"
    weight_decay: float = 0.01
    clip: float = 1.0
    dropout: float | None = None
    attention_dropout: float | None = None
    freeze: int | None = None
    precision: TrainPrecision = "auto"
    device: str = "auto"
    seed: int = 0
    evaluate_every: int | None = None
    patience: int | None = None
    save_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name, expected, least, most in _WHOLE:
            _check(name, getattr(self, name), expected, int, least, most)
        for name, expected, low, high in _NUMBERS:
            _check(name, getattr(self, name), expected, (int, float), low, high)
        for name, words in (("schedule", get_args(Schedule)), ("precision", get_args(TrainPrecision))):
            if getattr(self, name) not in words:
                raise SpecError(f"{name} must be one of {', '.join(words)}, not {getattr(self, name)!r}")

    def lasting(self) -> dict[str, Any]:
        """What a run must keep to when it goes on."""
        return {name: value for name, value in asdict(self).items() if name not in INCIDENTAL}


_WHOLE = (
    ("epochs", "a whole number of at least 1", 1, 10**6),
    ("steps", "a whole number of at least 1", 1, 10**9),
    ("batch_size", "a whole number of at least 1", 1, 10**7),
    ("batch_tokens", "a whole number of at least 1", 1, 10**9),
    ("freeze", "a whole number of at least 0", 0, 10**4),
    ("seed", "a whole number of at least 0", 0, 2**63 - 1),
    ("evaluate_every", "a whole number of at least 1", 1, 10**9),
    ("patience", "a whole number of at least 1", 1, 10**6),
)
_NUMBERS = (
    ("learning_rate", "a number above 0, at most 1", 1e-12, 1.0),
    ("head_rate", "a number above 0, at most 1", 1e-12, 1.0),
    ("layer_decay", "a number above 0, at most 1", 1e-6, 1.0),
    ("warmup", "a number from 0 to 1", 0.0, 1.0),
    ("weight_decay", "a number from 0 to 1", 0.0, 1.0),
    ("clip", "a number above 0", 1e-12, 1e12),
    ("dropout", "a number from 0 to 0.9", 0.0, 0.9),
    ("attention_dropout", "a number from 0 to 0.9", 0.0, 0.9),
    ("save_seconds", "a number of seconds", 0.0, 1e9),
)
_OPTIONAL = (
    "steps", "batch_tokens", "freeze", "evaluate_every", "patience", "head_rate", "dropout", "attention_dropout",
)  # fmt: skip


def _check(name: str, value: Any, expected: str, kind: Any, low: float, high: float) -> None:
    if value is None and name in _OPTIONAL:
        return
    if isinstance(value, bool) or not isinstance(value, kind) or not isfinite(value) or not low <= value <= high:
        raise SpecError(f"{name} must be {expected}, not {value!r}")


# What each kind of training takes where nobody says otherwise; docs/train.md has the trials.
CLASSIFY = Settings()
TAG = Settings(learning_rate=1e-4, batch_size=16, epochs=4)
ANSWER = Settings(epochs=2)
SIMILARITY = Settings(learning_rate=2e-5)
PRETRAIN = Settings(epochs=1, batch_size=64, learning_rate=5e-4)
DISTIL = Settings(epochs=1, batch_size=64, learning_rate=3e-4, dropout=0.0, attention_dropout=0.0)
