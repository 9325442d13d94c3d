"""What pretraining and distilling share: how texts without labels are read, the tasks by which layers are probed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import result_file
from lamina.cli.options import columns_option, errors_option, format_option, text_option, together

if TYPE_CHECKING:
    from lamina.text.source import Source
    from lamina.train.material import Reading
    from lamina.train.watch import Probed


OF_SOURCE = ("text", "words", "format", "columns", "errors")
OF_PROBE = ("label", "unit", "pool")
MASKING = ("share", "mask", "random", "whole_words")


# How the file of texts is read, and what of it is held out.
reading_options = together(
    text_option,
    format_option,
    columns_option,
    errors_option,
    click.option(
        "--documents",
        type=click.Choice(["rows", "blank"]),
        default="rows",
        show_default=True,
        help="What a document is: a row, or the rows up to an empty one, each a sentence.",
    ),
    click.option("--max-tokens", type=int, default=128, show_default=True, help="Of a passage."),
    click.option("--validate", metavar="FILE", help="Texts that figures are of."),
    click.option(
        "--held-out",
        type=float,
        default=0.01,
        show_default=True,
        help="Without --validate: a share of the documents; 0: none.",
    ),
    click.option("--share", type=float, default=0.15, show_default=True, help="Of the tokens: guessed."),
    click.option("--mask", type=float, default=0.8, show_default=True, help="Of those: shown as [MASK]."),
    click.option("--random", type=float, default=0.1, show_default=True, help="Of those: shown as any token."),
    click.option("--whole-words", is_flag=True, help="Guess all tokens of a word, or none."),
    click.option("--work", metavar="FOLDER", help="Where the corpus is meanwhile.  [default: the system's]"),
)


# By which tasks every layer is probed, when, and what is drawn of it.
probe_options = together(
    click.option(
        "--probe",
        "probes",
        multiple=True,
        metavar='"NAME: FILE ..."',
        help="Probe every layer for a task; many. After FILE: label=COLUMN, text=, words=, columns=a,b, "
        "format=, unit=, pool=, texts=2000.",
    ),
    click.option("--probe-every", type=click.IntRange(1), help="Steps.  [default: at the beginning and at the end]"),
    click.option(
        "--chart", metavar="FILE", callback=result_file, help="Draw the result: .svg, .png, .html, or .json for Vega."
    ),
)


@dataclass(frozen=True, slots=True)
class Read:
    """What `reading_options` and `probe_options` say, as the library takes it."""

    source: Source
    reading: Reading
    validate: Source | None
    probes: tuple[Probed, ...]
    probe_every: int | None
    work: str | None
    chart: str | None

    @classmethod
    def taken_from(cls, data: str, options: dict[str, Any], *, next_sentences: bool = False) -> Read:
        """Takes its own out of a command's options. Raises SpecError."""
        from lamina.text.source import Source
        from lamina.train.masking import Masking
        from lamina.train.material import Reading

        how = {name: options.pop(name) for name in ("text", "format", "columns", "errors")}
        masking = Masking(**{name: options.pop(name) for name in MASKING})
        kept = {name: options.pop(name) for name in ("documents", "max_tokens", "held_out")}
        validate = options.pop("validate")
        return cls(
            source=Source(data, keep=(), **how),
            reading=Reading(masking=masking, next_sentences=next_sentences, **kept),
            validate=None if validate is None else Source(validate, keep=(), **how),
            probes=tuple(map(probed, options.pop("probes"))),
            probe_every=options.pop("probe_every"),
            work=options.pop("work"),
            chart=options.pop("chart"),
        )

    def options(self) -> dict[str, Any]:
        """What `pretrain` and `distil` take of it."""
        return {
            "reading": self.reading, "validate": self.validate, "probes": self.probes, "probe_every": self.probe_every,
            "work": self.work,
        }  # fmt: skip


def probed(task: str) -> Probed:
    """A task from its words: `tags: dev.conllu`, `mood: train.txt columns=label,text label=label`. Or UsageError."""
    from lamina.text.source import Source
    from lamina.train.watch import TAGS, Probed

    name, _, words = task.partition(":")
    try:
        path, *rest = shlex.split(words)
    except ValueError:
        path, rest = "", []
    given = dict(word.split("=", 1) for word in rest if "=" in word)
    keys = {*OF_SOURCE, *OF_PROBE, "texts"}
    unknown = [word for word in rest if "=" not in word or word.partition("=")[0] not in keys]
    if not name.strip() or not path or unknown:
        known = ", ".join((*OF_SOURCE, *OF_PROBE, "texts"))
        wrong = f"; {unknown[0]!r} is none of it" if unknown else ""
        raise click.UsageError(f"--probe {task!r}: expected NAME: FILE and then {known}, with = and a value{wrong}")
    of_source: dict[str, Any] = {key: given[key] for key in OF_SOURCE if key in given}
    if "columns" in of_source:
        of_source["columns"] = tuple(of_source["columns"].split(","))
    of_probe: dict[str, Any] = {key: given[key] for key in OF_PROBE if key in given}
    if "texts" in given:
        if not given["texts"].isdigit():
            raise click.UsageError(f"--probe {name}: texts must be a whole number, not {given['texts']!r}")
        of_probe["texts"] = int(given["texts"])
    return Probed(name.strip(), Source(path, keep=(of_probe.get("label", TAGS),), **of_source), **of_probe)


def is_first() -> bool:
    """Whether this is the one of several processes that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def scores_of(folder: str) -> list[dict[str, Any]]:
    """What probes have found as the model in a folder learnt."""
    from lamina.train.folder import PROBES
    from lamina.train.watch import read_scores

    return read_scores(Path(folder) / PROBES)


def print_scores(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line a task and layer, a column a step: the first, the last, and some between."""
    from lamina.cli.compose import print_table

    if not rows:
        return
    steps = sorted({row["step"] for row in rows})
    shown = sorted({steps[round(k * (len(steps) - 1) / 5)] for k in range(6)})
    found = {(row["task"], row["layer"], row["step"]): row["score"] for row in rows}
    kinds = dict.fromkeys((row["task"], row["layer"]) for row in rows)
    click.echo("")
    print_table(
        ["task", "layer", *(f"step {step:,}" for step in shown)],
        [[*kind, *(found.get((*kind, step)) for step in shown)] for kind in kinds],
    )
