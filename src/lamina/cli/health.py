"""`lamina show DATASET --health`: the report on a dataset's vectors, and some of its texts computed anew for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lamina.errors import LaminaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamina.dataset.health import LayerHealth
    from lamina.dataset.reader import Dataset
    from lamina.embeddings import Vectors
    from lamina.extraction.extractor import Extractor

N_TEXTS = 32  # computed anew, at most
N_TOKENS = 4096  # of all of them, at most: the shortest are taken; seconds on the reference engine for a small model


@dataclass(frozen=True, slots=True)
class Report:
    """The health of each column, and where no drift is shown, why."""

    columns: list[LayerHealth]
    why_no_drift: str | None

    def json(self) -> dict[str, Any]:
        return {"health": [asdict(column) for column in self.columns], "why_no_drift": self.why_no_drift}


def report(dataset: Dataset) -> Report:
    """The health of a dataset, with drift where its texts can be computed anew."""
    from lamina.dataset.health import health

    try:
        rows, anew = _computed_anew(dataset)
    except LaminaError as error:
        return Report(health(dataset), str(error))
    return Report(health(dataset, drift=anew, drift_rows=rows), None)


def table(found: Report) -> str:
    """The report for people: a line a column of the dataset, then a sentence on drift."""
    heads = ["column", "rows", "NaN", "infinite", "norm", "(least, most)", "anisotropy", "strongest dimensions"]
    lines = [[*heads, "cosine to float32", "(median)", "error"]]
    for column in found.columns:
        strongest = ", ".join(f"{dimension.index} ({dimension.share:.1%})" for dimension in column.strongest)
        drift = column.drift
        lines.append(
            [
                column.column,
                f"{column.n_rows:,}",
                f"{column.n_nan_rows:,}",
                f"{column.n_infinite:,}",
                _number(column.norm_mean),
                f"({_number(column.norm_min)}, {_number(column.norm_max)})",
                _number(column.anisotropy),
                strongest or "-",
                *(("-",) * 3 if drift is None else (f"{drift.worst_cosine:.9f}", f"({drift.median_cosine:.9f})")),
                *(() if drift is None else (f"{drift.worst_error:.1e}",)),
            ]
        )
    if found.why_no_drift is not None:
        lines = [line[:8] for line in lines]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    rows = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*rows, "", _on_drift(found)])


def _on_drift(found: Report) -> str:
    if found.why_no_drift is not None:
        return f"drift is not shown: {found.why_no_drift}"
    n_rows = max((column.drift.n_rows for column in found.columns if column.drift), default=0)
    return (
        f"drift: {n_rows:,} texts computed anew by the reference engine in float32; the worst cosine and relative error"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _computed_anew(dataset: Dataset) -> tuple[list[int], Mapping[str, Vectors]]:
    """Some rows and their vectors by the reference engine. Raises LaminaError saying why that cannot be."""
    rows, texts = _texts(dataset)
    return rows, _model(dataset).extract_views(texts, {"": dataset.spec})[""].columns


def _texts(dataset: Dataset) -> tuple[list[int], list[str]]:
    """Sampled rows whose whole text is in the dataset, and the texts."""
    from lamina.dataset.health import sampled_rows

    if dataset.spec.unit != "text":
        raise LaminaError(
            f"a row is a {dataset.spec.unit}, and whole texts, which its vector depends on, are not stored"
        )
    if dataset.spec.pool == "idf":
        raise LaminaError("pool 'idf' weighs by the whole corpus, of which the sampled texts are a part")
    rows = sampled_rows(len(dataset), sample=N_TEXTS)
    units = dataset.units_at(rows.tolist())
    if "side" in units.column_names:
        raise LaminaError("texts were read in pairs, of which each row has one side only")
    n_tokens = units.column("n_tokens").to_pylist()
    whole = [place for place, status in enumerate(units.column("status").to_pylist()) if status == "ok"]
    taken, total = [], 0
    for place in sorted(whole, key=n_tokens.__getitem__):
        total += n_tokens[place]
        if total <= N_TOKENS:
            taken.append(place)
    if not taken:
        raise LaminaError(f"of {len(rows)} sampled rows none is a whole text of at most {N_TOKENS:,} tokens")
    taken.sort()
    surfaces = units.column("surface").to_pylist()
    return [int(rows[place]) for place in taken], [surfaces[place] for place in taken]


def _model(dataset: Dataset) -> Extractor:
    """The model that made the dataset, if it is the same here."""
    from lamina.extraction.loading import load
    from lamina.jobs.made import check_model

    made = dataset.manifest.made
    try:
        extractor = load(made.model, engine="reference", revision=made.revision)
    except LaminaError as error:
        raise LaminaError(f"the model {made.model!r} cannot be loaded: {error}") from None
    check_model(extractor, dataset)
    return extractor
