"""The folder of a dataset: whether a job may write into it, and how a finished dataset is changed.

Appending texts and adding layers happen in `.next`, a dataset's folder inside the dataset's folder; the dataset itself
stays as it is until one replacement of its manifest makes the change. Nothing here is done without the lock.
"""

from __future__ import annotations

from pathlib import Path

from lamina.dataset.durable import ASIDE, also_in, make_folder, remove, sync_folder
from lamina.dataset.lock import LOCK
from lamina.dataset.manifest import (
    FILE,
    IDF,
    INDEXES,
    SHARDS,
    TRANSFORMS,
    Manifest,
    Shard,
    read_manifest,
    write_manifest,
)
from lamina.dataset.manifest_kinds import SHARD_NAME
from lamina.errors import DatasetError

NEXT = ".next"  # where what comes to a finished dataset is made
OWN = (LOCK, f".{FILE}{ASIDE}")  # what an interruption may leave where no dataset is yet
LEFTOVERS = (SHARDS, IDF, TRANSFORMS, INDEXES, NEXT)  # what an older dataset in the same folder may have left


def check_folder(folder: Path, manifest: Manifest, *, overwrite: bool) -> Manifest | None:
    """The manifest of the dataset in `folder` that the job of `manifest` goes on with, or that it has finished; None
    where it begins anew.

    Touches nothing. Raises DatasetError where a dataset may not be written into the folder, or what is there is of
    another job, with the differences.
    """
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file; a dataset is a folder")
    if not folder.is_dir() or all(path.name in OWN for path in folder.iterdir()):
        return None
    if not (folder / FILE).is_file():
        raise DatasetError(f"{folder} holds other files and no dataset: give a folder that is new or empty")
    found = read_manifest(folder)
    if overwrite or not found.shards:
        return None
    differences = found.differences(manifest)
    if differences or found.has_lost_inputs:
        raise DatasetError(f"{folder} {_state(found, differences)}: give another folder, or ask to overwrite it")
    if not found.complete:
        check_shards(folder, found)
    return found


def check_shards(folder: Path, manifest: Manifest) -> None:
    """Raise DatasetError where a shard is not there, or not of its size."""
    for shard in manifest.shards:
        path = home(folder, shard) / SHARDS / shard.name
        if not path.is_file() or path.stat().st_size != shard.n_bytes:
            ways = (
                f"remove {folder} to begin it anew" if folder.name == NEXT else f"try `lamina verify {folder} --repair`"
            )
            raise DatasetError(f"{path} is missing or cut short: {ways}")


def begin(folder: Path, manifest: Manifest) -> None:
    """Make the folder a dataset that is being written. The manifest first: from then on nothing of an older dataset
    counts, so an interruption leaves one that is unfinished and can be begun again. Raises DatasetError."""
    try:
        make_folder(folder)
        write_manifest(folder, manifest)
        for name in LEFTOVERS:
            remove(folder / name)
        make_folder(folder / SHARDS)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be made: {error.strerror}") from None


def tidy(folder: Path, manifest: Manifest) -> None:
    """Remove what an interruption left beside what counts: files of ours, by their names."""
    after = folder / NEXT
    coming = read_manifest(after).shards if (after / FILE).is_file() else ()  # they may have been moved already
    named = {shard.name for shard in (*manifest.shards, *coming)}
    make_folder(folder / SHARDS)
    for path in (folder / SHARDS).iterdir():
        whole = path.name.removeprefix(".").removesuffix(ASIDE)
        if path.name not in named and SHARD_NAME.fullmatch(whole):
            remove(path)
    for name in (FILE, IDF):
        remove(folder / f".{name}{ASIDE}")


def home(folder: Path, shard: Shard) -> Path:
    """The dataset's folder in which a shard lies: of one that is being changed, the shards that stay are not moved."""
    above = folder.parent
    if folder.name == NEXT and not (folder / SHARDS / shard.name).exists() and (above / SHARDS / shard.name).exists():
        return above
    return folder


def open_next(folder: Path, manifest: Manifest) -> Manifest:
    """Begin what comes to a finished dataset, or go on with it: `manifest` describes the dataset as it will be, with
    the shards that stay. Gives the manifest to go on from.

    Raises DatasetError where another such job was left unfinished, with the differences.
    """
    after = folder / NEXT
    found = read_manifest(after) if (after / FILE).is_file() else None
    if found is not None and not _can_go_on(after, found):
        found = None
    if found is not None and (differences := found.differences(manifest)):
        raise DatasetError(
            f"{after} {_state(found, differences)}: give that job's command again to finish it, or remove the folder "
            "to give it up"
        )
    if found is None or found.shards[: len(manifest.shards)] != manifest.shards:
        begin(after, manifest)
        tidy(folder, read_manifest(folder))
        return manifest
    check_shards(after, found)
    tidy(after, found)
    return found


def commit_next(folder: Path) -> Manifest:
    """Make the finished dataset in `.next` the dataset: its shards come beside those that stay, then one replacement of
    the manifest changes it, then what no longer counts is removed. It can be interrupted anywhere and called again."""
    after = folder / NEXT
    manifest = read_manifest(after)
    assert manifest.complete
    check_shards(after, manifest)
    for shard in manifest.shards:
        if home(after, shard) == after:
            also_in(folder / SHARDS, after / SHARDS / shard.name)
    sync_folder(folder / SHARDS)
    write_manifest(folder, manifest)
    clear_next(folder, manifest)
    return manifest


def clear_next(folder: Path, manifest: Manifest) -> None:
    """Remove what a change that is done left behind, of the dataset that `manifest` describes."""
    after = folder / NEXT
    if not (after / FILE).is_file() or read_manifest(after).shards == manifest.shards:
        tidy(folder, manifest)
        remove(after)


def _can_go_on(after: Path, found: Manifest) -> bool:
    """Whether anything was made of what was to come, and of an input that can be read again."""
    is_made = found.complete or any(home(after, shard) == after for shard in found.shards)
    return is_made and found.inputs[-1].sha256 is not None


def _state(found: Manifest, differences: list[str]) -> str:
    """What a folder is, if not what a job can go on with."""
    said = "; ".join(differences)
    if found.complete:
        return f"is a dataset already, of another job ({said})" if said else "is a dataset already, made of no file"
    if said:
        return f"holds {found.n_texts:,} texts of an unfinished job that was another one ({said})"
    return "is unfinished, and its input was no file that could be read again"
