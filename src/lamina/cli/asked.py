"""What `extract` and `plan` are asked for: a file and how it is read, a model, and the tables to make of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lamina.cli.options import Names, Recipe, model_options, spec_options, together

if TYPE_CHECKING:
    from lamina.extraction.extractor import Extractor
    from lamina.spec import Spec
    from lamina.text.source import Source
    from lamina.text.text import OnError


OF_SPEC = (
    "layers", "unit", "pool", "combine", "special", "long", "max_tokens", "stride", "overlap", "dims", "normalize",
    "prompt", "dtype",
)  # fmt: skip
SHARED = ("long", "max_tokens", "stride", "overlap", "dtype")  # may be said once for all recipes
OF_MODEL = ("revision", "engine", "device", "precision", "threads")


@dataclass(frozen=True, slots=True)
class Asked:
    """The values of `asked_options`."""

    source: Source
    specs: dict[str, Spec]
    on_error: OnError
    model: str
    engine: str
    how: dict[str, Any]
    calibrate_on: str | None

    @classmethod
    def of(cls, values: dict[str, Any]) -> Asked:
        """From the keyword arguments of a command. Raises UsageError, SpecError."""
        from lamina.text.source import Source

        names = ("text", "pair", "words", "spans", "columns", "keep", "errors", "longest")
        described = Source(values["source"], values["format_"], **{name: values[name] for name in names})
        how = {name: values[name] for name in OF_MODEL}
        return cls(
            described,
            _specs(values),
            values["on_error"],
            values["model"],
            values["engine"],
            how,
            values["calibrate_on"],
        )

    def load(self) -> Extractor:
        """The model."""
        from lamina.extraction.loading import load

        return load(self.model, **self.how, calibrate_on=self._calibration())

    def _calibration(self) -> Iterator[str] | None:
        """The texts that 8-bit ranges are found on, where some were given."""
        from lamina.text.text import as_text

        if self.calibrate_on is None:
            return None
        source = replace(self.source, path=self.calibrate_on, format=None)
        return (as_text(text).text for rows in source.rows() for text in rows.texts)


# The argument FILE and all options that say what is made of it.
asked_options = together(
    click.argument("source", metavar="FILE"),
    click.option("--text", metavar="COLUMN", help="The column that holds the text.  [default: text, or the only one]"),
    click.option("--pair", metavar="COLUMN", help="The column that holds a second text, read together with the first."),
    click.option(
        "--words", metavar="COLUMN", help="The column that holds ready-made words, a list, instead of --text."
    ),
    click.option("--spans", metavar="COLUMN", help="The column that holds [[start, end], ...] for --unit span."),
    click.option(
        "--format",
        "format_",
        help="txt, csv, tsv, jsonl, parquet, conll, conllu.  [default: by the name; stdin: txt]",
    ),
    click.option("--columns", type=Names(), help="The columns' names, where a csv or tsv has no header line."),
    click.option("--keep", type=Names(), help="Which other columns travel along.  [default: all]"),
    click.option(
        "--errors",
        default="strict",
        show_default=True,
        help="Bytes that are no UTF-8: strict, or replace (with U+FFFD).",
    ),
    click.option(
        "--longest",
        type=click.IntRange(1),
        metavar="N",
        help="Characters of a text; a longer one is an error of its row.  [default: 134 million bytes]",
    ),
    click.option(
        "--on-error",
        default="stop",
        show_default=True,
        help="Rows that cannot be read: stop, or mark and go on (exit 3).",
    ),
    click.option(
        "--recipe",
        "recipes",
        multiple=True,
        type=Recipe(),
        help="NAME: OPTIONS, for several tables from one pass. --long, --max-tokens, --stride, --overlap and --dtype "
        "hold for all that say nothing else.",
    ),
    spec_options,
    model_options,
    click.option(
        "--calibrate-on",
        metavar="FILE",
        help="For int8: texts like those to come, read as FILE is.  [default: texts that come with Lamina]",
    ),
)


def _specs(values: dict[str, Any]) -> dict[str, Spec]:
    from lamina.spec import Spec

    if not values["recipes"]:
        return {"": Spec.of(**{name: values[name] for name in OF_SPEC})}
    if any(_was_given(name) for name in OF_SPEC if name not in SHARED):
        raise click.UsageError("with --recipe, what to extract is said in each recipe")
    names = [name for name, _ in values["recipes"]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise click.UsageError(f"two recipes are called {twice[0]!r}: a table each, so give each a name of its own")
    shared = Spec.of(**{name: values[name] for name in SHARED})
    return {name: Spec.parse(f"{shared} {words}") for name, words in values["recipes"]}  # the recipe's own words win


def _was_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) == ParameterSource.COMMANDLINE
