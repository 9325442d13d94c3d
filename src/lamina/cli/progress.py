"""Progress of a job on stderr: texts and tokens a second, time left. Silent where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.extraction.extractor import Done


@dataclass(slots=True)
class Progress:
    """Counts what is done; shows it where somebody is looking. `n_characters` is the whole input's, None if unknown."""

    n_characters: int | None
    n_tokens: int = 0
    n_texts: float = 0.0
    started: float = field(default_factory=time.monotonic)
    bar: Any = None
    task: Any = None

    def __call__(self, done: Done) -> None:
        self.n_tokens += done.n_tokens
        self.n_texts += done.n_texts
        if self.bar is not None:
            self.bar.update(self.task, advance=done.n_characters, rate=self.rate())

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.started, 1e-9)

    def rate(self) -> str:
        """Speed so far, for people."""
        return f"{self.n_texts / self.seconds:,.0f} texts/s, {self.n_tokens / self.seconds:,.0f} tokens/s"


@contextmanager
def progress(n_characters: int | None, *, quiet: bool) -> Iterator[Progress]:
    """A Progress, shown while the context lasts, unless `quiet` or stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield Progress(n_characters)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}")]
    columns.append(TimeRemainingColumn() if n_characters else TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("extracting", total=n_characters or None, rate="")
        yield Progress(n_characters, bar=bar, task=task)
