"""The folder of a smaller model: it appears whole, under its name, or not at all.

Written aside, beside where it is to be, and renamed when everything is on the disk. Another model's folder is replaced
only if Lamina made that, too, by compressing: what is somebody's own is never removed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

from lamina.compress.draft import Draft
from lamina.compress.storing import Piece, quantization_config, write_tensors
from lamina.dataset.durable import copy_whole, sync_folder, write_json, write_whole
from lamina.errors import CheckpointError
from lamina.model.checkpoint import CONFIG, SINGLE, files_beside
from lamina.model.config import MAX_BYTES

RECORD = "lamina_compression.json"

# What a config says of numbers' types, by the versions of transformers.
TYPE_KEYS = ("dtype", "torch_dtype")


def check_place(out: Path, source: Path, *, overwrite: bool) -> None:
    """Raise CheckpointError where no model may be written."""
    if out.resolve() == source.resolve() or out.resolve() in source.resolve().parents:
        raise CheckpointError(f"{out} holds the model that is to be compressed: name another folder")
    if _is_free(out):
        return
    if not (out / RECORD).is_file():
        raise CheckpointError(f"{out} is there already, and lamina compress has not made it: name another folder")
    if not overwrite:
        raise CheckpointError(f"{out} holds a model already: name another folder, or overwrite it (--overwrite)")


@contextmanager
def whole_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new folder beside `out`, which takes that name at the end; after an error nothing is left of it."""
    out = out.resolve()  # `.` has no name, and a link leads to the folder that is meant
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{token_hex(4)}.partial")
    aside.mkdir()
    try:
        yield aside
        sync_folder(aside)
        if out.is_dir() and _is_free(out):
            out.rmdir()
        if overwrite and out.is_dir():
            _replace(out, aside)
        else:
            aside.rename(out)  # fails where somebody else was faster
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(out.parent)


def write_model(folder: Path, draft: Draft, made: list[Piece], precision: str | None) -> str:
    """Write config, weights, tokenizer and sentence-transformers files; the sha256 of the weights comes back."""
    written = write_whole(folder / SINGLE, lambda file: write_tensors(file, made))
    config = dict(draft.config)
    config.pop("quantization_config", None)
    if found := quantization_config(draft, made):
        config["quantization_config"] = found
    if precision not in (None, "int8"):
        key = next((key for key in TYPE_KEYS if key in config), "torch_dtype")
        config[key] = precision
    write_json(folder / CONFIG, config)
    for name, path in files_beside(draft.checkpoint.folder):
        (folder / name).parent.mkdir(exist_ok=True)
        copy_whole(path, folder / name)
    return written.sha256


def read_record(folder: Path) -> dict[str, Any] | None:
    """What was done to a model before, if lamina compress made it."""
    path = folder / RECORD
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(path.read_bytes()) if path.stat().st_size <= MAX_BYTES else None
        return found if isinstance(found, dict) else None
    return None


def _is_free(out: Path) -> bool:
    """Whether nothing is there, or an empty folder."""
    return not any(out.iterdir()) if out.is_dir() else not (out.exists() or out.is_symlink())


def _replace(out: Path, new: Path) -> None:
    """Give a folder's name to a new one; the old one is removed then, or has its name again where this fails."""
    old = new.with_name(f"{new.name}.old")
    out.rename(old)
    try:
        new.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
