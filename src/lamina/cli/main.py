"""The front door: `lamina VERB`. Finds the verb's module when it is used, and turns every error into one sentence.

Exit codes: 0 done; 1 an error; 2 the command was mistyped or asks for what does not exist; 3 done, but some rows
could not be read and are marked (`--on-error mark`); 130 interrupted; 143 terminated.
Data goes to stdout or files, progress and errors to stderr.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper

import click

from lamina.errors import LaminaError, SpecError

INTERRUPTED = 130
TERMINATED = 143  # by SIGTERM, as a queue or a container does when time is up
SAID = {INTERRUPTED: "interrupted", TERMINATED: "terminated"}
GRACE = 1.5  # seconds
FULL = (errno.ENOSPC, errno.EDQUOT)  # what a disk without room is called

# verb -> what --help says of it. The module is lamina.cli.VERB and is imported only when the verb is used.
VERBS = {
    "extract": "Extract embeddings of texts into a dataset.",
    "plan": "Say what an extraction will take: rows, bytes, memory, minutes.",
    "show": "Describe a model or a dataset.",
    "fit": "Fit a transform on a dataset's vectors: centre, whiten, remove, truncate.",
    "verify": "Find every damaged, missing or foreign shard of a dataset, and repair it.",
    "export": "Write one layer of a dataset as a NumPy file.",
    "probe": "Find the layer, pool or mix of layers that says most about a label.",
    "search": "Find what is nearest to a query: texts, sentences, or words used alike.",
    "answer": "Find passages that fit a question, and what in them answers it.",
    "score": "Score generated texts against references, token by token.",
    "align": "Link the words of translations, or find translations among sentences.",
    "map": "Draw a dataset in two dimensions, layer by layer.",
    "attention": "Show who looks at whom, by layer and head.",
    "lens": "Ask every layer which word it takes each token for.",
    "trace": "Follow words in several sentences through the layers.",
    "classify": "Train a classifier of texts on a layer, use it, score it.",
    "tag": "Train a tagger of words on a layer, use it, score it.",
    "train": "Train a model: to classify, tag, answer, compare; from nothing; or a smaller one.",
    "compress": "Write a smaller model, and say what it costs by layer.",
    "bench": "Measure this machine, a model on it, and what each precision costs by layer.",
    "cluster": "Group texts or words, say what each group is about, compare with labels by layer.",
    "keywords": "Find the phrases that say what a text, or a group of texts, is about.",
    "relations": "Link names in texts by their vectors and by standing together: a graph.",
}


class Verbs(click.Group):
    """A group whose commands are imported late, so that --help stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"lamina.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's own, which cannot guess what was meant: it knows the commands that are loaded."""
        near = get_close_matches(args[0], VERBS, n=1)
        if near and args[0] not in VERBS:
            ctx.fail(f"No such verb '{args[0]}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=Verbs,
    subcommand_metavar="VERB ...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Every layer of BERT, as data.",
    epilog="lamina VERB --help says more. Example: lamina extract reviews.csv -o reviews/ --text review",
)
@click.version_option(package_name="lamina", message="lamina %(version)s")
def cli() -> None:
    """The group itself does nothing."""


class Ended(BaseException):
    """A signal that ends the program, raised where it is, so that it tidies up."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
        self.is_said = False

    def say(self) -> int:
        """Say it once; the exit code."""
        if not self.is_said:
            self.is_said = True
            _said(SAID[self.code], self.code)
        return self.code


def main() -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _hear)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where the shell wants it ignored
        signal.signal(signal.SIGINT, _hear)
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a file on Windows takes no →
    code = run(sys.argv[1:])
    if code in SAID:  # a thread may still wait for a silent pipe, and Python would wait for the thread
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command line; the exit code comes back, every error has been said on stderr."""
    try:
        code = cli.main(arguments, prog_name="lamina", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _said(SAID[INTERRUPTED], INTERRUPTED)
    except Ended as ended:
        return ended.say()
    except BrokenPipeError:  # whoever read our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SpecError as error:
        return _said(str(error), 2)
    except LaminaError as error:
        return _said(str(error), 1)
    except MemoryError:
        return _said("not enough memory; --batch-tokens makes batches smaller, --layers asks for less", 1)
    except OSError as error:
        advice = ": make room, and give the same command again" if error.errno in FULL else ""
        return _said(f"{error.filename or 'the disk'}: {error.strerror or error}{advice}", 1)
    except Exception as error:  # a bug: say so, and how to see where
        if os.environ.get("LAMINA_TRACEBACK"):
            raise
        kind = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return _said(f"this is a bug in Lamina ({kind}); LAMINA_TRACEBACK=1 shows where", 1)
    return code if isinstance(code, int) else 0  # what a verb left by click's Exit comes back as its code


def _hear(number: int, _: object) -> None:
    """End tidily, but not later than GRACE seconds from now, whatever the engine is computing. What is then left, a
    lock, the next job takes over."""
    ended = Ended(128 + number)
    timer = threading.Timer(GRACE, lambda: os._exit(ended.say()))
    timer.daemon = True
    timer.start()
    raise ended


def _said(sentence: str, code: int) -> int:
    click.echo(f"lamina: {sentence}", err=True)
    return code
