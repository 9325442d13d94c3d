"""`lamina classify`: a class for each text. Train, predict, evaluate."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import click

from lamina.cli.compose import (
    Extraction,
    check_columns,
    extraction_options,
    is_dataset,
    print_json,
    print_table,
    result_options,
)
from lamina.cli.options import quiet_option, source_options
from lamina.cli.trained import (
    Run,
    encoder_options,
    facts,
    layer_options,
    leave,
    opened_out,
    training_data,
    travelled,
)

if TYPE_CHECKING:
    from lamina.apps.classify.classifier import Predictions
    from lamina.apps.classify.scores import ClassScores
    from lamina.spec import Unit


@click.group("classify")
def command() -> None:
    """Classify texts: logistic regression, a linear SVM, naive Bayes, a forest, nearest centroid or neighbours, on one
    layer or a mix.

    \b
    lamina classify train reviews.csv -o model/ --text review --label stars --layer 4
    lamina classify eval model/ test.csv --text review --label stars
    cat lines.txt | lamina classify predict model/ > predicted.jsonl
    """


@command.command("train", short_help="Train a classifier on texts with labels.")
@click.argument("data")
@click.option("-o", "--out", required=True, metavar="FOLDER", help="Where the classifier goes: new or empty.")
@click.option("--label", required=True, metavar="COLUMN", help="The column that holds the label.")
@layer_options
@click.option(
    "--kind", type=click.Choice(["logistic", "svm", "bayes", "forest", "centroid", "knn"]), default="logistic",
    show_default=True, help="Which classifier.",
)  # fmt: skip
@click.option(
    "--strength", type=click.FloatRange(0, min_open=True),
    help="scikit-learn's C of logistic and svm.  [default: found by the folds]",
)  # fmt: skip
@click.option("--groups", metavar="COLUMN", help="Rows of one value here are never parted by the folds.")
@click.option("--pair", metavar="COLUMN", help="The column that holds a second text: pairs are classified.")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="Parts held out in turn.")
@extraction_options
@click.option("--overwrite", is_flag=True, help="Replace a classifier that is there already.")
@result_options
def train(
    data: str, out: str, label: str, layer: str | None, winner: str | None, pool: str | None, kind: str,
    strength: float | None, groups: str | None, pair: str | None, folds: int, overwrite: bool, as_json: bool,
    report: str | None, chart: str | None, **how: Any,
) -> None:  # fmt: skip
    """Train a classifier on DATA, a file of texts and labels or a dataset, and say how it did on rows held out in turn.

    Its strength and how sure it is (the temperature of its probabilities) are found on those rows; then it is trained
    on all of them. The folder holds JSON and safetensors and knows its encoder, layer, unit and pool.

    \b
    lamina classify train reviews.csv -o model/ --text review --label stars --layer 4
    lamina classify train reviews.csv -o model/ --label stars --winner winner.json --kind svm
    """
    from lamina.apps.classify.classifier import train_classifier
    from lamina.apps.classify.kinds import KINDS
    from lamina.apps.classify.scores import score_classes
    from lamina.apps.labels import row_labels
    from lamina.apps.trained import check_free

    check_free(out, overwrite=overwrite)
    extraction = Extraction(**how, pair=pair)
    check_columns(extraction.source(data), label, groups)
    unit: Unit = "text" if pair is None else "pair"
    with training_data(data, extraction, unit=unit, layer=layer, winner=winner, pool=pool) as (dataset, where):
        training = train_classifier(
            dataset, row_labels(dataset.units, label), layer=where, kind=kind, strength=strength,
            groups=None if groups is None else row_labels(dataset.units, groups), folds=folds,
            on_fit=None if extraction.quiet else _said,
        )  # fmt: skip
        training.classifier.save(out, overwrite=overwrite)
    made = training.classifier
    scores = None if training.held_out is None else score_classes(training.held_out, training.labels)
    if scores is not None:
        _write(
            scores, report, chart, title=f"{kind} on {data}", facts=facts(made.place, data), about="Held out in turn: "
        )
    elif report or chart:
        click.echo("lamina: there are no scores to draw: --report and --chart are not written", err=True)
    about = {**made.about, "kind": kind, "temperature": made.temperature, "layer": made.place.layer}
    if as_json:
        print_json({"folder": out, "labels": list(made.labels), **about, "held_out": scores and _document(scores)})
        return
    if len(about["tried"]) > 1:
        print_table(["strength", "log_loss", "accuracy"], [list(one.values()) for one in about["tried"]])
    left_out = f"; {about['n_left_out']:,} rows without a label or a vector left out" if about["n_left_out"] else ""
    strong = f", strength {about['strength']:g}" if len(KINDS[kind].strengths) > 1 else ""
    click.echo(
        f"{out}: {kind} of {len(made.labels)} classes, layer {made.place.layer}{strong}, "
        f"trained on {about['n']:,} rows{left_out}"
    )
    if scores is None:
        click.echo(
            "too few rows to hold any out: how good it is is not known, and its probabilities are not calibrated"
        )
    else:
        from lamina.apps.classify.report import sentence

        click.echo(f"held out in turn: {sentence(scores)}")


@command.command("predict", short_help="Classify texts.")
@click.argument("classifier")
@click.argument("source", default="-")
@click.option("--to", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True, help="What it writes.")
@click.option("-o", "--out", metavar="FILE", help="Write to a file.  [default: stdout]")
@click.option("--all", "every", is_flag=True, help="The probability of every class, not only of the likeliest.")
@source_options
@quiet_option
@encoder_options
def predict(classifier: str, source: str, to: str, out: str | None, every: bool, **how: Any) -> None:
    """Classify the texts of SOURCE (a file, or standard input) with CLASSIFIER, a folder that `train` wrote.

    A line a text, in the order of the input: its columns, `prediction`, `probability` and `status`. A text that says
    nothing has no prediction. Memory does not grow with the input. Exit code 3: some rows could not be read.

    \b
    cat lines.txt | lamina classify predict model/ > predicted.jsonl
    lamina classify predict model/ new.csv --text review --to csv -o predicted.csv
    """
    n_unreadable = 0
    with opened_out(out) as file:
        writer = WRITERS[to](file, every=every)
        for predictions, is_whole in _predictions(classifier, source, Run(**how)):
            n_unreadable += writer.write(predictions, is_whole=is_whole)
            file.flush()
    leave(n_unreadable)


@command.command("eval", short_help="Score a classifier on texts whose labels are known.")
@click.argument("classifier")
@click.argument("data")
@click.option("--label", required=True, metavar="COLUMN", help="The column that holds the label.")
@source_options
@quiet_option
@encoder_options
@result_options
def evaluate(
    classifier: str, data: str, label: str, as_json: bool, report: str | None, chart: str | None, **how: Any
) -> None:
    """Score CLASSIFIER on DATA whose labels are known: accuracy, F1 by class, what is taken for what, and how far its
    probabilities can be trusted.

    \b
    lamina classify eval model/ test.csv --text review --label stars --report test.html
    """
    from lamina.apps.classify.classifier import read_classifier
    from lamina.apps.classify.report import sentence
    from lamina.apps.classify.scores import score_classes
    from lamina.apps.labels import row_labels

    check_columns(Run(**how).source(data), label)
    predictions = _whole(classifier, data, Run(**how))
    scores = score_classes(predictions, row_labels(predictions.units, label))
    _write(scores, report, chart, title=f"{classifier} on {data}", facts=facts(read_classifier(classifier).place, data))
    if as_json:
        print_json(_document(scores))
        return
    rows = _rows(scores)
    print_table(["class", "n", "found", "right", "precision", "recall", "F1"], [list(row.values()) for row in rows])
    click.echo(sentence(scores))
    if scores.unseen:
        click.echo("never learnt, so counted as wrong: " + ", ".join(f"{k} ({n:,})" for k, n in scores.unseen.items()))


def _predictions(classifier: str, source: str, run: Run) -> Iterator[tuple[Predictions, bool]]:
    """The predictions of each part of a source, running only the layers that are needed; and whether each text has one
    row, so that its number says which."""
    from lamina.apps.classify.classifier import read_classifier

    trained = read_classifier(classifier)
    extractor = run.load(trained.place.encoder)
    for part in run.parts(source, extractor, {"": trained.place.spec}):
        yield trained.predict(part[""]), trained.place.spec.unit in ("text", "pair")


def _whole(classifier: str, data: str, run: Run) -> Predictions:
    import numpy as np
    import pyarrow as pa

    from lamina.apps.classify.classifier import Predictions, read_classifier
    from lamina.errors import SpecError

    if is_dataset(data):
        from lamina.dataset.reader import open_dataset

        dataset, trained = open_dataset(data), read_classifier(classifier)
        trained.place.check(dataset)
        return trained.predict(dataset)
    parts = [predictions for predictions, _ in _predictions(classifier, data, run)]
    if not parts:
        raise SpecError(f"{data} holds no text")
    units = pa.concat_tables([part.units for part in parts], promote_options="permissive")
    return Predictions(units, parts[0].labels, np.concatenate([part.probabilities for part in parts]))


class _Lines:
    """Writes a line a prediction. `write` gives how many rows could not be read."""

    def __init__(self, file: IO[str], *, every: bool) -> None:
        self._file, self._every = file, every

    def write(self, predictions: Predictions, *, is_whole: bool) -> int:
        n_unreadable = 0
        for row, name, probabilities in _records(predictions, is_whole=is_whole):
            n_unreadable += row["status"] == "error"
            self._line(row, name, dict(zip(predictions.labels, probabilities, strict=True)))
        return n_unreadable

    def _line(self, row: dict[str, Any], name: str | None, probabilities: dict[str, float]) -> None:
        raise NotImplementedError


class _JsonLines(_Lines):
    def _line(self, row: dict[str, Any], name: str | None, probabilities: dict[str, float]) -> None:
        status, error = row.pop("status"), row.pop("error", None)
        line = {**row, "prediction": name, "probability": None if name is None else round(probabilities[name], 6)}
        if self._every:
            line["probabilities"] = None if name is None else {k: round(p, 6) for k, p in probabilities.items()}
        line |= {"status": status} | ({"error": error} if error else {})
        self._file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")


class _Csv(_Lines):
    _writer: Any = None

    def _line(self, row: dict[str, Any], name: str | None, probabilities: dict[str, float]) -> None:
        status, error = row.pop("status"), row.pop("error", None)
        given = {f"probability_{k}": p for k, p in probabilities.items()} if self._every else {}
        if self._writer is None:
            self._writer = csv.writer(self._file, lineterminator="\n")
            self._writer.writerow([*row, "prediction", "probability", *given, "status", "error"])
        shown = ["" if name is None else f"{p:.6f}" for p in (probabilities.get(name or "", 0.0), *given.values())]
        self._writer.writerow([*row.values(), name, *shown, status, error])


WRITERS: dict[str, type[_Lines]] = {"jsonl": _JsonLines, "csv": _Csv}
OWN = ("prediction", "probability", "probabilities")


def _records(predictions: Predictions, *, is_whole: bool) -> Iterator[tuple[dict[str, Any], str | None, list[float]]]:
    """Each unit's number, place and columns, its class, and the probabilities."""
    units, names = predictions.units, predictions.names
    own = ["text_id"] if is_whole else ["text_id", "start", "end", "surface"]
    kept = [*own, "status", *(["error"] if "error" in units.column_names else []), *travelled(units)]
    rows = units.select(list(dict.fromkeys(kept))).to_pylist()
    for row, name, probabilities in zip(rows, names, predictions.probabilities.tolist(), strict=True):
        yield {f"input_{key}" if key in OWN else key: value for key, value in row.items()}, name, probabilities


def _write(
    scores: ClassScores, report: str | None, chart: str | None, *, title: str, facts: dict[str, str], about: str = ""
) -> None:
    from lamina.apps.classify.report import confusion_chart, scores_report

    if report:
        scores_report(scores, title=title, facts=facts, about=about).save(report)
    if chart:
        from lamina.apps.charts import save

        save(confusion_chart(scores), chart)


def _rows(scores: ClassScores) -> list[dict[str, Any]]:
    return [
        {"class": name, "n": one.n, "found": one.n_found, "right": one.n_right, "precision": one.precision,
         "recall": one.recall, "f1": one.f1}
        for name, one in scores.classes.items()
    ]  # fmt: skip


def _document(scores: ClassScores) -> dict[str, Any]:
    """Scores as JSON values."""
    mistakes = [
        {"gold": one.gold, "found": one.found, "n": one.n, "examples": list(one.examples)} for one in scores.mistakes
    ]
    bins = [
        {"low": one.low, "high": one.high, "n": one.n, "probability": one.probability, "accuracy": one.accuracy}
        for one in scores.bins
    ]
    return {
        "rows": _rows(scores), "accuracy": scores.accuracy, "macro_f1": scores.macro_f1, "log_loss": scores.log_loss,
        "calibration_error": scores.calibration_error, "n": scores.n, "n_left_out": scores.n_left_out,
        "n_nothing": scores.n_nothing, "unseen": scores.unseen, "bins": bins, "mistakes": mistakes,
    }  # fmt: skip


def _said(what: str) -> None:
    """What is being fitted, on stderr, while somebody looks."""
    if sys.stderr.isatty():
        click.echo(what, err=True)
