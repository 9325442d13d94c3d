"""Jobs killed, starved, cut off and damaged. Prints what was done, and what was lost, doubled or different.

    python -m tests.jobs.torture [--kills 1000] [--units 200] [--flips 2000] [--every 1] [--seed 0]

Kills   a job of so many units runs in a child of this process, and is killed (SIGKILL): by this process at a random
        instant, or by itself before or after a random write, fsync or rename. What is on disk is checked, and the same
        command is started again, until the job is done. Then every file must be that of a job that nobody disturbed.
Races   two children do the same job at once.
Faults  every write, fsync, rename (and the rest) of every kind of job fails once, in three ways: EIO, ENOSPC, a short
        write before ENOSPC. The job is started again.
Cuts    after every step of every kind of job, what a power cut may leave (the least, the most, anything between) is
        laid out, and the job started again on it.
Flips   a bit of a shard or the manifest is flipped; both are cut to every length. `verify` must see it.

`--every N` takes one fault and one cut of N. Exits with 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads would not survive a fork

import lamina
from lamina.jobs import made
from tests.jobs.disks import Disk, used
from tests.jobs.scenes import Scene, begun, expected_of, scenes
from tests.jobs.torments import (
    Figures,
    cut_everywhere,
    fail_everywhere,
    flip_and_cut,
    forked,
    kill_until_done,
    race,
    waited,
)

MEMORY = Path("/dev/shm")  # noqa: S108 - a disk that is never slow: a kill loses nothing of what was written to it


@dataclass(frozen=True)
class Measured:
    """A job that is to be killed: what it makes undisturbed, in how many steps and seconds."""

    scene: Scene
    expected: Path
    steps: dict[str, int]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    made.version = str  # type: ignore[assignment] # asking for a package's version is slow
    figures, rng, started = Figures(), random.Random(arguments.seed), time.monotonic()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        place = Path(folder)
        model = random_model(place)
        kill_all(model, place, rng, figures, n_kills=arguments.kills, n_units=arguments.units)
        if arguments.every:
            small = scenes(model, new_folder(place / "small"), n_texts=2)
            for scene in small:
                expected = expected_of(scene, place / "small")
                fail_everywhere(scene, place / "work", expected, figures=figures, every=arguments.every)
                cut_everywhere(scene, place / "work", expected, rng=rng, figures=figures, every=arguments.every)
            flipped = expected_of(small[0], place / "small") / "out"
            flip_and_cut(flipped, n_flips=arguments.flips, rng=rng, figures=figures)
    report(figures, time.monotonic() - started)


def kill_all(
    model: lamina.Extractor, place: Path, rng: random.Random, figures: Figures, *, n_kills: int, n_units: int
) -> None:
    """Kill jobs of every kind, every other one a plain one, and let two runners race for each."""
    plain, *others = [
        measured(one, place / "large") for one in scenes(model, new_folder(place / "large"), n_texts=n_units)
    ]
    for turn in range(sys.maxsize):
        if figures.done["kills"] >= n_kills:
            break
        job = plain if turn % 2 == 0 else others[turn // 2 % len(others)]
        kill_until_done(
            job.scene, place / "work", job.expected,
            steps=job.steps, seconds=job.seconds, rng=rng, figures=figures,
        )  # fmt: skip
        if turn % 10 == 9:
            print(
                f"{figures.done['kills']:,} kills of {figures.done['jobs finished']:,} jobs",
                file=sys.stderr,
                flush=True,
            )
    for job in (plain, *others):
        race(job.scene, place / "work", job.expected, figures=figures)


def measured(scene: Scene, place: Path) -> Measured:
    """Do a job undisturbed, in a child of its own: this process stays without threads."""
    told, tell = os.pipe()

    def act() -> None:
        expected_of(scene, place)
        work = begun(scene, place / "measured")
        started = time.monotonic()
        with used(Disk(work)) as disk:
            scene.start(work)
        os.write(tell, json.dumps([disk.counts, time.monotonic() - started]).encode())

    status = waited(forked(act), None)
    assert status == 0, f"{scene.name} cannot be done at all"
    steps, seconds = json.loads(os.read(told, 1000))
    os.close(told)
    os.close(tell)
    return Measured(scene, place / f"undisturbed {scene.name}", steps, seconds)


def random_model(place: Path) -> lamina.Extractor:
    """A random model of one narrow layer, made in another process: torch is large, and forks would carry it."""
    script = "import sys; from pathlib import Path; from tests.checkpoints import TINY, save_bert; "
    script += "save_bert(Path(sys.argv[1]), **TINY)"
    subprocess.run([sys.executable, "-c", script, str(place / "model")], check=True, capture_output=True)
    return lamina.load(place / "model", engine="reference")


def new_folder(path: Path) -> Path:
    path.mkdir()
    return path


def report(figures: Figures, seconds: float) -> None:
    """A table for people, one JSON line for programs."""
    for what, count in figures.done.items():
        print(f"{count:>8,} {what}")
    for where, count in figures.where.most_common():
        print(f"{count:>8,}   killed {where}")
    print(f"{len(figures.wrong):>8,} times something was lost, doubled or different")
    for wrong in figures.wrong[:20]:
        print(f"         {wrong}")
    print(f"{seconds:>8,.0f} s")
    print(json.dumps({**figures.done, "where": figures.where, "wrong": len(figures.wrong), "seconds": round(seconds)}))
    sys.exit(bool(figures.wrong))


if __name__ == "__main__":
    main()
