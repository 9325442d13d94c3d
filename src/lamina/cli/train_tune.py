"""`lamina train classify | tag | answer | similarity`: a pretrained model made better at one task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lamina.cli.options import source_options, together
from lamina.cli.training import Kind, Training, class_weights, model_option, out_options, settings_options
from lamina.train.settings import ANSWER, CLASSIFY, SIMILARITY, TAG

if TYPE_CHECKING:
    from lamina.text.source import Source
    from lamina.train.examples import Examples

L = TypeVar("L")

SOURCE = ("text", "pair", "words", "format", "columns", "errors")
PAIRED = ("validate", "test")


# What the best state is chosen on, and what the model is scored on at the end.
held_out_options = together(
    click.option("--validate", metavar="FILE", help="Held out: the best state is chosen on it."),
    click.option(
        "--held-out", type=float, default=0.1, show_default=True, help="Without --validate: a share; 0: none."
    ),
    click.option("--test", metavar="FILE", help="What the finished model is scored on."),
)
longest_option = click.option("--max-tokens", type=int, help="Longest sequence.  [default: what the model takes]")


@click.command("classify", cls=Kind)
@click.argument("data")
@click.option("--label", required=True, metavar="COLUMN", help="The column that holds the class.")
@click.option("--class-weights", metavar="WORD", help="balanced, or weights: rare=4,common=1.  [default: all alike]")
@held_out_options
@longest_option
@source_options
@model_option
@out_options
@settings_options(CLASSIFY)
def classify(data: str, label: str, **options: Any) -> None:
    """Train a model to classify the texts (or pairs) of the file DATA.

    \b
    lamina train classify reviews.csv -o model/ --text review --label stars
    lamina train classify train.txt -o model/ --columns label,text --label label --validate dev.txt --test test.txt

    Use it by `lamina.load("model/").head()`, or in transformers.
    """
    from lamina.train.classify import train_classifier
    from lamina.train.examples import class_label

    training = Training.taken_from(options)
    weights = class_weights(options.pop("class_weights"))
    examples, how = _read(data, label, class_label, options)
    training.carry_out(
        lambda watcher: train_classifier(
            examples=examples, class_weights=weights, out=training.out, settings=training.settings,
            overwrite=training.overwrite, watcher=watcher, **how,
        )
    )  # fmt: skip


@click.command("tag", cls=Kind)
@click.argument("data")
@click.option("--label", default="tags", show_default=True, metavar="COLUMN", help="A list of tags for each text.")
@click.option(
    "--pieces", type=click.Choice(["first", "mean"]), default="first", show_default=True,
    help="What stands for a word: its first piece, or the mean of all.",
)  # fmt: skip
@held_out_options
@longest_option
@source_options
@model_option
@out_options
@settings_options(TAG)
def tag(data: str, label: str, **options: Any) -> None:
    """Train a model to tag the words of DATA: a CoNLL file, or a file with a column of words (--words) and one of tags.

    \b
    lamina train tag train.conll -o tagger/ --validate dev.conll --test test.conll
    lamina tag predict --head tagger/ lines.txt
    """
    from lamina.train.examples import tag_labels
    from lamina.train.tag import train_tagger

    training = Training.taken_from(options)
    examples, how = _read(data, label, tag_labels, options)
    training.carry_out(
        lambda watcher: train_tagger(
            examples=examples, out=training.out, settings=training.settings, overwrite=training.overwrite,
            watcher=watcher, **how,
        )
    )  # fmt: skip


@click.command("answer", cls=Kind)
@click.argument("data")
@click.option("--stride", type=int, default=128, show_default=True, help="Tokens from window to window.")
@held_out_options
@click.option("--max-tokens", type=int, help="Of a window.  [default: 384, or what the model takes]")
@model_option
@out_options
@settings_options(ANSWER)
def answer(data: str, validate: str | None, test: str | None, **options: Any) -> None:
    """Train a model to answer the questions of DATA, a file of SQuAD's kind (1.1 or 2.0): where in its passage the
    answer stands. Long passages are read in windows.

    \b
    lamina train answer train.json -o reader/ --validate dev.json
    """
    from lamina.train.answer import read_questions, train_answers

    training = Training.taken_from(options)
    held, tested = (None if path is None else read_questions(path) for path in (validate, test))
    examples = read_questions(data)
    training.carry_out(
        lambda watcher: train_answers(
            examples=examples, validate=held, test=tested, out=training.out, settings=training.settings,
            overwrite=training.overwrite, watcher=watcher, **options,
        )
    )  # fmt: skip


@click.command("similarity", cls=Kind)
@click.argument("data")
@click.option(
    "--score", metavar="COLUMN", help="How alike the texts are.  [default: pairs belong together, others do not]"
)
@click.option("--low", type=float, help="The score of nothing in common.  [default: the lowest]")
@click.option("--high", type=float, help="The score of everything in common.  [default: the highest]")
@click.option(
    "--pool", type=click.Choice(["mean", "cls"]), default="mean", show_default=True, help="How a text's vector is made."
)
@held_out_options
@longest_option
@source_options
@model_option
@out_options
@settings_options(SIMILARITY)
def similarity(data: str, score: str | None, **options: Any) -> None:
    """Train a model's sentence vectors on the pairs of DATA: two columns of texts (--text, --pair), with a score of how
    alike they are, or without one, where each text must find its own partner among those of its batch.

    \b
    lamina train similarity pairs.csv -o model/ --text a --pair b --score score
    lamina train similarity questions.csv -o model/ --text question --pair passage --batch-size 64
    """
    from lamina.errors import SpecError
    from lamina.train.examples import score_label
    from lamina.train.similarity import train_similarity

    if options["pair"] is None:
        raise SpecError("pairs are learnt from: name the column of the second text with --pair")
    training = Training.taken_from(options)
    examples, how = _read(data, score, score_label, options)
    training.carry_out(
        lambda watcher: train_similarity(
            examples=examples, out=training.out, settings=training.settings, overwrite=training.overwrite,
            watcher=watcher, **how,
        )
    )  # fmt: skip


def _read(
    data: str, label: str | None, label_of: Callable[[Any], L | None], options: dict[str, Any]
) -> tuple[Examples[Any], dict[str, Any]]:
    """The examples of DATA; and the other options, with the examples of `--validate` and `--test` in place of names."""
    from lamina.train.examples import read_examples

    source = {name: options.pop(name) for name in SOURCE}

    def read(path: str) -> Examples[Any]:
        examples, n_left_out = read_examples(_source(path, **source), label, label_of)
        if n_left_out:
            click.echo(f"{n_left_out:,} rows of {path} without a value in column {label!r} are left out", err=True)
        return examples

    held = {name: read(options[name]) for name in PAIRED if options[name] is not None}
    return read(data), options | held


def _source(path: str, *, format: str | None, columns: tuple[str, ...] | None, **how: Any) -> Source:
    from lamina.text.source import Source

    return Source(path, format, columns=columns, **how)
