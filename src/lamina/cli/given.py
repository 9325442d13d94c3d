"""Texts for the verbs that look into single texts: given on the command line, or a file that is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from lamina.cli.compose import Extraction, is_file

if TYPE_CHECKING:
    from lamina.extraction.extractor import Extractor
    from lamina.text.text import Text

_NAME = re.compile(r"\S+(\.\w{1,8}|/)", re.ASCII)  # of a file or folder, rather than a text


def names_file(argument: str) -> bool:
    """Whether an argument is a file, or - for standard input, rather than a text. Raises UsageError for what looks like
    a file's name and is none."""
    if argument == "-" or is_file(argument):
        return True
    if _NAME.fullmatch(argument):
        raise click.UsageError(f"{argument} is no file, and looks like the name of one")
    return False


def given_texts(texts: tuple[str, ...], how: Extraction) -> tuple[list[str | Text], bool]:
    """The texts, and whether they come from a file: one argument that is a file's name is that file."""
    from lamina.text.text import Text

    if len(texts) == 1 and names_file(texts[0]):
        found = (text for rows in how.source(texts[0]).rows() for text in rows.texts)
        return [text for text in found if isinstance(text, str | Text)], True
    if not texts:
        raise click.UsageError("give a text in quotes, several of them, or a file")
    return list(texts), False


def fitting(texts: list[str | Text], model: Extractor) -> list[str | Text]:
    """Those of a file's texts that fit one window; how many do not is said on stderr."""
    from lamina.text.text import as_text

    kept = []
    for text in texts:
        n_tokens = model.tokenizer.encode([as_text(text)]).ids.size
        if n_tokens <= model.architecture.max_tokens:
            kept.append(text)
    if len(kept) < len(texts):
        n = len(texts) - len(kept)
        click.echo(f"{n:,} texts left out: longer than one window, {model.architecture.max_tokens:,} tokens", err=True)
    return kept
