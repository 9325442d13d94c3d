"""Options that several verbs share, under the names that Python and the stored Spec use."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Names(click.ParamType):  # type: ignore[type-arg]
    """Names with commas between them, as a tuple."""

    name = "a,b,c"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        return value if isinstance(value, tuple) else tuple(str(value).split(","))


class Recipe(click.ParamType):  # type: ignore[type-arg]
    """`NAME: OPTIONS`, a table's name and what is in it, as the words of a Spec."""

    name = "name: options"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, colon, words = str(value).partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name.strip()):
            self.fail(
                f'{value!r} is no recipe; expected NAME: OPTIONS, as in "words: unit=word layers=-4..-1"', param, ctx
            )
        return name.strip(), words


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Options as one decorator, in the order in which the help shows them."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


text_option = click.option(
    "--text", metavar="COLUMN", help="The column that holds the text.  [default: text, or the only one]"
)
pair_option = click.option("--pair", metavar="COLUMN", help="The column that holds a second text.")
words_option = click.option("--words", metavar="COLUMN", help="The column that holds ready-made words, a list.")
format_option = click.option("--format", help="txt, csv, tsv, jsonl, parquet, conll or conllu.  [default: by the name]")
columns_option = click.option(
    "--columns", type=Names(), help="The columns' names, where a file has no header; txt: label,text."
)
errors_option = click.option(
    "--errors", default="strict", help="Bytes that are no UTF-8: strict or replace.  [default: strict]"
)
quiet_option = click.option("--quiet", is_flag=True, help="No progress on stderr.")

# How texts are read.
source_options = together(text_option, pair_option, words_option, format_option, columns_option, errors_option)


# Which model, on which engine.
model_options = together(
    click.option("--model", default="minilm", show_default=True, help="minilm, a folder, or a hub id."),
    click.option("--revision", help="A hub model's branch, tag or commit."),
    click.option(
        "--engine", default="auto", show_default=True, help="auto, openvino, torch, reference or transformers."
    ),
    click.option(
        "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps; GPUs need torch."
    ),
    click.option(
        "--precision", default="float32", show_default=True, help="float32, tf32, bfloat16, float16, int8 or auto."
    ),
    click.option("--threads", type=click.IntRange(1), help="Default: all that this process may use."),
)


# What to extract: the fields of a Spec.
spec_options = together(
    click.option("--layers", default="all", show_default=True, help="all, encoder, embeddings, 4, -4..-1, 0,6."),
    click.option("--unit", default="text", show_default=True, help="text, sentence, span, word, token or pair."),
    click.option(
        "--pool",
        default="mean",
        show_default=True,
        help="mean, max, sum, sqrt, position, idf, first, last, cls, model.",
    ),
    click.option("--combine", default="none", show_default=True, help="none, mean, sum, concat, or weights 1,2,1."),
    click.option("--special", default="include", show_default=True, help="Special tokens: include or exclude."),
    click.option("--long", default="window", show_default=True, help="Long texts: window, truncate or error."),
    click.option("--max-tokens", type=int, help="Longest input in tokens.  [default: what the model takes]"),
    click.option("--stride", type=int, help="Tokens from window to window.  [default: 3/4 of one]"),
    click.option("--overlap", default="centre", show_default=True, help="Tokens in several windows: centre or mean."),
    click.option("--dims", type=int, help="Keep the first so many numbers of each vector."),
    click.option("--normalize", is_flag=True, help="Scale each vector to unit length."),
    click.option("--prompt", help="A prompt's name, for --pool model.  [default: the model's own]"),
    click.option("--dtype", default="float16", show_default=True, help="As stored: float16 or float32."),
)
