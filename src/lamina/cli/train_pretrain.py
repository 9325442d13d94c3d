"""`lamina train pretrain`: a BERT from nothing on the user's texts, or a checkpoint trained further on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.options import together
from lamina.cli.train_reading import Read, is_first, print_scores, probe_options, reading_options, scores_of
from lamina.cli.training import Kind, Training, out_options, settings_options
from lamina.train.settings import PRETRAIN

if TYPE_CHECKING:
    from lamina.train.loop import Watcher
    from lamina.train.run import Trained


SCRATCH = (
    "layers", "width", "heads", "ffn_width", "max_positions", "config", "tokenizer", "vocabulary_size", "cased",
    "accents", "chinese", "min_frequency",
)  # fmt: skip


# What a new model is; each is None where it is not given.
scratch_options = together(
    click.option("--layers", type=int, help="Of a new model.  [default: 12]"),
    click.option("--width", type=int, help="Numbers of a state.  [default: 768]"),
    click.option("--heads", type=int, help="Of each layer.  [default: one for 64 numbers]"),
    click.option("--ffn-width", type=int, help="Of the feed-forward.  [default: 4 times the width]"),
    click.option("--max-positions", type=int, help="Longest input it can ever take.  [default: 512]"),
    click.option("--config", metavar="FILE", help="A BERT's config.json that says all of this instead."),
    click.option("--tokenizer", metavar="MODEL", help="Take a model's tokenizer; else one is learnt."),
    click.option("--vocabulary-size", type=int, help="Tokens learnt, at most.  [default: 30522]"),
    click.option("--cased/--uncased", default=None, help="Keep upper case apart.  [default: uncased]"),
    click.option("--accents/--no-accents", default=None, help="Keep accents.  [default: as the case]"),
    click.option("--chinese/--no-chinese", default=None, help="Each Chinese character a word.  [default: chinese]"),
    click.option("--min-frequency", type=int, help="Of what becomes a token.  [default: 2]"),
)


@click.command("pretrain", cls=Kind)
@click.argument("data")
@click.option("--model", help="Train this one further: minilm, a folder, or a hub id.  [default: a new BERT]")
@click.option("--revision", help="A hub model's branch, tag or commit.")
@scratch_options
@click.option("--next-sentences", is_flag=True, help="Read pairs, and guess whether they follow one another, too.")
@reading_options
@probe_options
@out_options
@settings_options(PRETRAIN)
def pretrain(data: str, model: str | None, revision: str | None, next_sentences: bool, **options: Any) -> None:
    """Pretrain a BERT on the texts of DATA (.txt, .jsonl, .parquet, ...): it learns to guess hidden tokens.

    A new one learns its vocabulary from DATA first. With --probe it is watched: what each layer knows, as it learns.

    \b
    lamina train pretrain texts.jsonl -o bert/ --layers 4 --width 128 --vocabulary-size 8192 --steps 2000
    lamina train pretrain texts.jsonl -o bert/ --model minilm --whole-words
    lamina train pretrain texts.txt -o bert/ --probe "pos: dev.conllu" --probe-every 200 --chart learning.svg

    `lamina lens --model bert/` shows what it guesses; transformers opens it as BertForMaskedLM.
    """
    from lamina.errors import SpecError
    from lamina.train.pretrain import pretrain as run
    from lamina.train.scratch import Scratch

    training = Training.taken_from(options)
    described = {name: value for name in SCRATCH if (value := options.pop(name)) is not None}
    read = Read.taken_from(data, options, next_sentences=next_sentences)
    if read.chart is not None and not read.probes and not scores_of(training.out):
        raise SpecError("--chart draws what each layer knows: give a task by --probe")
    if model is not None and described:
        given = ", ".join(f"--{name.replace('_', '-')}" for name in described)
        raise SpecError(f"give a model to train further, or describe a new one ({given}), not both")

    def train(watcher: Watcher) -> Trained:
        trained = run(
            read.source, out=training.out, model=model, revision=revision,
            scratch=None if model is not None else Scratch(**described), settings=training.settings,
            overwrite=training.overwrite, watcher=watcher, **read.options(),
        )  # fmt: skip
        return replace(trained, record={**trained.record, "rows": scores_of(training.out)})

    training.carry_out(train)
    if is_first():
        _show(training, read)


def _show(training: Training, read: Read) -> None:
    """What was found as it learnt."""
    rows = scores_of(training.out)
    if not training.as_json:
        print_scores(rows)
    if read.chart is not None:
        from lamina.apps.charts import save
        from lamina.train.watch_chart import watch_chart

        save(watch_chart(rows, title=f"What each layer of {training.out} knows"), read.chart)
