"""Jobs to disturb: how each begins, how it is started (and started again), and what must be there in the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lamina
from lamina.dataset.folder import NEXT
from lamina.dataset.manifest import read_manifest
from lamina.dataset.verify import damaged
from lamina.extraction.extractor import Extractor
from lamina.jobs.local import run
from lamina.jobs.repair import repair
from lamina.text.source import Source
from tests.dataset.making import assert_same_files

A_ROW = 1  # byte a shard, which is a row a shard


@dataclass(frozen=True)
class Scene:
    """A job on the folder `out` of a place.

    begin   what is there before.
    start   the command, the first time and again after an interruption.
    whole   names of datasets that must be readable at every instant, old or new.
    """

    name: str
    begin: Callable[[Path], None]
    start: Callable[[Path], None]
    whole: tuple[str, ...] = ()


def scenes(model: Extractor, place: Path, *, n_texts: int) -> list[Scene]:
    """Every way of writing a dataset, `n_texts` shards each; the inputs lie in `place`."""
    first, more = _input(place / "first.txt", n_texts), _input(place / "more.txt", n_texts)
    few = _input(place / "few.txt", 2)
    spec = lamina.Spec(layers="0,1", dtype="float32")
    one = {"": spec}
    two = {"texts": spec, "words": lamina.Spec(unit="word", layers="1")}
    added = {"": lamina.Spec(layers="1", dtype="float32")}

    def made(source: Source, specs: dict[str, lamina.Spec], **how: bool) -> Callable[[Path], None]:
        return lambda folder: _run(source, folder / "out", model, specs, **how)

    def append(folder: Path) -> None:
        _run(more, folder / "out", model, one, append=True)

    def add(folder: Path) -> None:
        _run(first, folder / "out", model, added, add=True)

    def overwrite(folder: Path) -> None:
        is_old = read_manifest(folder / "out").complete and read_manifest(folder / "out").n_texts == 2
        _run(first, folder / "out", model, one, overwrite=is_old)

    def break_it(folder: Path) -> None:
        made(first, one)(folder)
        shards = sorted((folder / "out" / "shards").iterdir())
        for shard in shards[1::2]:
            shard.write_bytes(b"gone" + shard.read_bytes()[4:])
        shards[0].unlink()

    def make_good(folder: Path) -> None:
        repair(folder / "out", sources=[first.path], model=model)

    return [
        Scene("new", _nothing, made(first, one)),
        Scene("two tables", _nothing, made(first, two)),
        Scene("overwrite", made(few, {"": lamina.Spec(layers="1")}), overwrite),
        Scene("append", made(few, one), append, whole=("out",)),
        Scene("add", made(first, {"": lamina.Spec(layers="0", dtype="float32")}), add, whole=("out",)),
        Scene("repair", break_it, make_good),
    ]


def check_state(scene: Scene, folder: Path) -> None:
    """What must hold after any interruption: no dataset says that it has a shard which is not whole, and those that
    were finished before are readable, as they were or as they will be."""
    for path in folder.rglob("manifest.json"):
        if path.parent.name != NEXT and scene.name != "repair":
            assert damaged(path.parent, read_manifest(path.parent)) == []
    for name in scene.whole:
        dataset = lamina.open(folder / name)
        assert dataset.units.column("text_id").to_pylist() == list(range(dataset.manifest.n_texts))
        for layer in dataset.layers:
            assert dataset.layer(layer).shape == (dataset.manifest.n_texts, dataset.manifest.width)


def expected_of(scene: Scene, place: Path) -> Path:
    """The folder of a job that nobody disturbs."""
    folder = begun(scene, place / f"undisturbed {scene.name}")
    scene.start(folder)
    return folder


def check_end(folder: Path, expected: Path) -> None:
    """Every array to the bit, no row missing or doubled, no litter."""
    assert_same_files(folder, expected)


def begun(scene: Scene, folder: Path) -> Path:
    """A fresh folder for a scene, with what is there before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    scene.begin(folder)
    return folder


def _run(source: Source, out: Path, model: Extractor, specs: dict[str, lamina.Spec], **how: bool) -> None:
    run(source, out, model, specs, shard_bytes=A_ROW, **how)


def _input(path: Path, n_texts: int) -> Source:
    words = ("kettle", "sings", "long", "before", "the", "water", "boils")
    lines = [f"{' '.join(words[i % 5 : i % 5 + 1 + i % 3])} {path.stem} {i}\n" for i in range(n_texts)]
    path.write_text("".join(lines))
    return Source(str(path))


def _nothing(folder: Path) -> None:
    """No dataset is there before."""
