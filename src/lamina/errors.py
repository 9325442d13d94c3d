"""Every error that Lamina raises on purpose, in one tree.

An error says what was given, what was expected and what to do. The command line prints its sentence and exits
with 1 (2 where the command itself was mistyped); a traceback there is a bug.
"""

from __future__ import annotations

from collections.abc import Mapping


class LaminaError(Exception):
    """The root: catch this to catch everything that Lamina says on purpose."""


class SpecError(LaminaError, ValueError):
    """What was asked for does not exist or contradicts itself: a layer, a unit, a pool, an option."""


class SourceError(LaminaError):
    """The input cannot be read as texts: a missing file or column, a broken row, bytes that are no UTF-8."""


class TextError(LaminaError, ValueError):
    """One text cannot be turned into tokens, or not as asked; `row` is its position in the input.

    `refused` has the reasons of all texts that were refused together with it, by their positions.
    """

    def __init__(self, reason: str, *, row: int, refused: Mapping[int, str] | None = None, path: str = "") -> None:
        super().__init__(f"{path}{', ' if path else ''}text {row} {reason}")
        self.reason, self.row, self.refused = reason, row, refused or {row: reason}

    @classmethod
    def of(cls, refused: Mapping[int, str]) -> TextError:
        """The error of several texts at once: that of the first one."""
        row = min(refused)
        return cls(refused[row], row=row, refused=refused)

    def at(self, row: int) -> TextError:
        """The same error, for a text whose position in the whole input is `row`."""
        return TextError(self.reason, row=row)

    def in_file(self, path: str) -> TextError:
        """The same error, naming the file that the text is from."""
        return TextError(self.reason, row=self.row, path=path)


class CheckpointError(LaminaError):
    """A model cannot be found or is refused: no safetensors, a wrong checksum, an unknown family."""


class WeightsError(CheckpointError):
    """The tensors of a checkpoint do not fit its configuration."""


class EngineError(LaminaError):
    """An engine cannot do what it was asked for on this machine."""


class DatasetError(LaminaError):
    """A dataset folder cannot be written or opened as it stands."""


class TrainedError(LaminaError):
    """The folder of something trained cannot be written, is damaged, or holds something else."""


class MissingExtraError(LaminaError, ImportError):
    """An optional dependency is needed; the message holds the pip line."""
