"""`lamina train distil`: a student of fewer layers learns to give its teacher's states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import result_file
from lamina.cli.train_reading import Read, is_first, probe_options, reading_options
from lamina.cli.training import Kind, Training, model_option, out_options, settings_options
from lamina.train.settings import DISTIL

if TYPE_CHECKING:
    from lamina.train.loop import Watcher
    from lamina.train.run import Trained


@click.command("distil", cls=Kind)
@click.argument("data")
@click.option(
    "--layers", required=True, metavar="3|2,4,6",
    help="How many of the teacher's layers the student begins with, spread evenly; or which.",
)  # fmt: skip
@click.option(
    "--match", metavar="2,4,6", help="Whose states each of its layers is to give.  [default: its own layer's]"
)
@click.option(
    "--measure",
    type=click.Choice(["mse", "cosine"]),
    default="mse",
    show_default=True,
    help="How far apart states are.",
)
@click.option(
    "--logits", type=float, default=0.0, show_default=True,
    help="What guesses of masked tokens weigh beside states; the teacher needs the head.",
)  # fmt: skip
@click.option("--temperature", type=float, default=2.0, show_default=True, help="Of those guesses.")
@click.option("--report", metavar="FILE.html", callback=result_file, help="Write one self-contained page.")
@reading_options
@probe_options
@model_option
@out_options
@settings_options(DISTIL)
def distil(
    data: str, model: str, revision: str | None, layers: str, match: str | None, measure: Any, logits: float,
    temperature: float, report: str | None, **options: Any,
) -> None:  # fmt: skip
    """Distil --model into a student of fewer layers, on the texts of DATA, and compare the two layer by layer.

    \b
    lamina train distil texts.jsonl -o small/ --model minilm --layers 3
    lamina train distil texts.jsonl -o small/ --layers 1,3,6 --probe "pos: dev.conllu" --report small.html

    The comparison is in FOLDER/comparison.json; --share, --mask, --random and --whole-words count with --logits only.
    """
    from lamina.errors import SpecError
    from lamina.train.distil import distil as run

    training = Training.taken_from(options)
    read = Read.taken_from(data, options)
    if (read.chart or report) and not (read.probes or read.validate or read.reading.held_out):
        raise SpecError("--chart and --report draw what is held out or probed: hold texts out, or give a --probe")
    chosen = _numbers("--layers", layers)
    matched = None if match is None else _numbers("--match", match)

    def train(watcher: Watcher) -> Trained:
        trained = run(
            model, read.source, out=training.out, layers=chosen if "," in layers else chosen[0], match=matched,
            measure=measure, logits=logits, temperature=temperature, revision=revision, settings=training.settings,
            overwrite=training.overwrite, watcher=watcher, **read.options(),
        )  # fmt: skip
        found = _comparison(training.out) if trained.is_finished else {}
        return replace(trained, record={**trained.record, **found})

    training.carry_out(train)
    if is_first():
        _show(training, read, report)


def _numbers(option: str, words: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words.split(","))
    except ValueError:
        raise click.UsageError(f"{option} must be a number or numbers with commas between, not {words!r}") from None


def _comparison(folder: str) -> Mapping[str, Any]:
    """What was compared, where the student is finished."""
    from lamina.train.folder import REPORT

    path = Path(folder) / REPORT
    found: Mapping[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return found


def _show(training: Training, read: Read, report: str | None) -> None:
    """The comparison as a table, a chart and a page."""
    from lamina.cli.compose import command_line, print_table
    from lamina.train.comparison_chart import comparison_chart, page, tables_of

    document = _comparison(training.out)
    title = f"{training.out} beside {document['teacher_name']}"
    if not training.as_json:
        for columns, rows in tables_of(document).values():
            click.echo("")
            print_table(columns, rows)
    if read.chart is not None:
        from lamina.apps.charts import save

        save(comparison_chart(document, title=title), read.chart)
    if report is not None:
        record = json.loads((Path(training.out) / "training.json").read_bytes())
        facts = {name: str(record[name]) for name in ("lamina", "torch", "teacher", "data", "weights_sha256")}
        page(document, title=title, facts={"command": command_line(), **facts}).save(report)
