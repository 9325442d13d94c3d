"""A `Winner`: the layer, unit and pool that a probe chose, as a small JSON file that other apps take.

Comes in: what `lamina probe --save` found. Goes out: the Spec that extracts just that. Its scores are said, the
probe's own weights are not kept: who wants to predict trains (`lamina classify train`, `lamina tag train`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lamina.apps.mix import Mix
from lamina.errors import SpecError
from lamina.spec import Spec

FORMAT = "lamina-winner"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Winner:
    """Where to look for a label.

    model     the encoder, by the name that `lamina.load` takes.
    layer     a Mix word with the layers' own numbers, never counted from the end: `4`, `mean:3,4,5,6`,
              `0.12,0.5:3,4`.
    unit, pool, special   as in a Spec.
    label     the column of labels that was probed.
    scores    what it scored: the metric's name -> score, `low` and `high`, and `test` where there was one.
    revision, weights_sha256   which weights exactly, where that is known.
    """

    model: str
    layer: str
    unit: str = "text"
    pool: str = "mean"
    special: str = "include"
    label: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    revision: str | None = None
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        for name in ("model", "layer", "unit", "pool", "special", "label"):
            if not isinstance(getattr(self, name), str):
                raise SpecError(f"{name} of a winner must be a string, not {getattr(self, name)!r}")
        if not isinstance(self.scores, Mapping):
            raise SpecError(f"scores of a winner must be a mapping, not {self.scores!r}")
        self.spec()  # checks the words

    def spec(self) -> Spec:
        """The Spec that extracts just this; `vectors_of(data, -1)` reads it then, be it one layer or a mix."""
        mix = Mix.parse(self.layer)
        return Spec(
            layers=mix.layers,
            combine=mix.combine,
            unit=self.unit,  # type: ignore[arg-type]  # the Spec checks its words
            pool=self.pool,  # type: ignore[arg-type]
            special=self.special,  # type: ignore[arg-type]
        )

    def save(self, path: str | Path) -> None:
        """Write the file."""
        values = {"format": FORMAT, "format_version": VERSION, **asdict(self)}
        Path(path).write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_winner(path: str | Path) -> Winner:
    """The inverse of `Winner.save`. Raises SpecError for what is no such file."""
    try:
        found: Any = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} is no winner of a probe: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise SpecError(f"{path} is no winner of a probe: `lamina probe --save FILE.json` writes one")
    if found.get("format_version") != VERSION:
        raise SpecError(f"{path} has format version {found.get('format_version')!r}; this Lamina reads {VERSION}")
    known = {one.name for one in fields(Winner)}
    try:
        return Winner(**{name: value for name, value in found.items() if name in known})
    except TypeError as error:
        raise SpecError(f"{path} is no whole winner of a probe: {error}") from None
