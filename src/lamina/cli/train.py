"""`lamina train`: fine-tuning, pretraining, distilling; each kind is a command in a file of its own or with its kin."""

from __future__ import annotations

import os

import click

KINDS = {
    "classify": "To classify texts or pairs of texts.",
    "tag": "To tag words: names, parts of speech.",
    "answer": "To find what in a passage answers a question.",
    "similarity": "Sentence vectors, on pairs of texts with or without scores.",
    "pretrain": "BERT from nothing, or on from a checkpoint, on your own texts.",
    "distil": "A smaller model that learns from a larger one.",
}


class Kinds(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(KINDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in KINDS:
            return None
        found: click.Command
        if cmd_name == "pretrain":
            from lamina.cli.train_pretrain import pretrain as found
        elif cmd_name == "distil":
            from lamina.cli.train_distil import distil as found
        else:
            from lamina.cli import train_tune

            found = getattr(train_tune, cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Kinds"):
            formatter.write_dl(list(KINDS.items()))


@click.group("train", cls=Kinds)
def command() -> None:
    """Train a model: fine-tune it to classify texts, tag words, answer questions or compare sentences; pretrain one on
    your own texts; distil a smaller one. What comes out is an ordinary checkpoint folder.

    The same command again goes on where it was interrupted or killed, with the same losses; --overwrite starts anew.

    \b
    lamina train classify reviews.csv -o model/ --text review --label stars
    lamina train tag train.conll -o tagger/ --validate dev.conll --test test.conll
    accelerate launch --num_processes 4 -m lamina train classify reviews.csv -o model/ --label stars
    """
    # Threads that wait by spinning made a step ten times as long while another program used one of two cores; it must
    # be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
