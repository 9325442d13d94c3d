"""What is done to a job to see whether it loses anything. Each torment notes what it did and what it found wrong."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import lamina
from lamina.dataset.verify import verify
from tests.jobs.disks import Disk, Failing, Killing, Notes, lay_out, used
from tests.jobs.scenes import Scene, begun, check_end, check_state

KINDS = ("EIO", "ENOSPC", "short")
CUTS = ("least", "most", "any")
HANGS = 120  # seconds that no child takes


@dataclass
class Figures:
    """What was done, and what went wrong."""

    done: Counter[str] = field(default_factory=Counter)
    where: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def checked(self, what: str, check: Callable[[], None]) -> None:
        """Run a check; what it finds is noted, and all goes on."""
        try:
            check()
        except Exception as error:  # noqa: BLE001 - all are told in the end
            self.wrong.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")


def kill_until_done(
    scene: Scene, folder: Path, expected: Path, *, steps: Mapping[str, int], seconds: float, rng: random.Random,
    figures: Figures,
) -> None:  # fmt: skip
    """Start a job, kill it, start it again, until one start is not killed; mostly a tenth of the job passes between.

    steps    how many of each kind the whole job takes; seconds: how long.
    """
    begun(scene, folder)
    while True:
        told, tell = os.pipe()
        if rng.random() < 0.5:
            kind, after = rng.choice(sorted(steps)), rng.random() < 0.5
            at = 1 + int(rng.expovariate(10 / steps[kind]))
            status = waited(forked(partial(_killed_at, scene, folder, kind, at, after, tell)), None)
        else:
            status = waited(forked(partial(scene.start, folder)), rng.expovariate(10 / seconds))
        os.close(tell)
        said = os.read(told, 100).decode() or "at a random instant"
        os.close(told)
        if not os.WIFSIGNALED(status):
            figures.done["jobs finished"] += 1
            if status != 0:
                figures.wrong.append(f"{scene.name}: a start ended with {os.waitstatus_to_exitcode(status)}")
            figures.checked(scene.name, partial(check_end, folder, expected))
            return
        figures.done["kills"] += 1
        figures.where[said] += 1
        figures.checked(f"{scene.name}, killed {said}", partial(check_state, scene, folder))


def fail_everywhere(scene: Scene, folder: Path, expected: Path, *, figures: Figures, every: int = 1) -> None:
    """Let each step fail, in each way, and start the job again. `every`: one of so many (each kind at other steps)."""
    n_steps = steps_of(scene, folder)
    for at in range(1, n_steps + 1):
        for number, kind in enumerate(KINDS):
            if (at + number) % every == 0:
                _fail_once(scene, folder, expected, at, kind, figures)


def cut_everywhere(
    scene: Scene, folder: Path, expected: Path, *, rng: random.Random, figures: Figures, every: int = 1
) -> None:
    """After each step, lay out what a power cut may leave, and start the job again. `every`: as above."""
    with used(Notes(begun(scene, folder))) as notes:
        scene.start(folder)
    after = folder.with_name(f"{folder.name} after")
    for n_steps in range(notes.n_steps + 1):
        for number, how in enumerate(CUTS):
            if (n_steps + number) % every:
                continue
            shutil.rmtree(after, ignore_errors=True)
            after.mkdir()
            lay_out(notes.after_a_cut(n_steps, rng, how=how), folder, after)
            figures.done["power cuts"] += 1
            where = f"{scene.name}, cut after step {n_steps}, {how}"
            figures.checked(where, partial(check_state, scene, after))
            figures.checked(where, partial(_again, scene, after, expected))


def flip_and_cut(folder: Path, *, n_flips: int, rng: random.Random, figures: Figures) -> None:
    """Flip bits of a dataset's shards and manifest, one at a time, and cut each file to every shorter length."""
    files = [folder / "manifest.json", *sorted((folder / "shards").iterdir())]
    for _ in range(n_flips):
        path = rng.choice(files)
        whole = path.read_bytes()
        place, bit = rng.randrange(len(whole)), rng.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
        figures.done["bits flipped"] += 1
        if not _found_out(folder):
            figures.wrong.append(f"bit {bit} of byte {place} of {path.name} was flipped, and nobody saw it")
        path.write_bytes(whole)
    for path in files[:2]:
        whole = path.read_bytes()
        for n_bytes in range(len(whole)):
            path.write_bytes(whole[:n_bytes])
            figures.done["truncations"] += 1
            if not _found_out(folder):
                figures.wrong.append(f"{path.name} was cut to {n_bytes} bytes, and nobody saw it")
        path.write_bytes(whole)


def race(scene: Scene, folder: Path, expected: Path, *, figures: Figures) -> None:
    """Two runners on one output: one of them does the job, the other is refused or finds it done."""
    begun(scene, folder)
    ended = [waited(pid, None) for pid in [forked(partial(_refused, scene, folder)) for _ in range(2)]]
    figures.done["races"] += 1
    if sorted(map(os.waitstatus_to_exitcode, ended)) not in ([0, 0], [0, 1]):
        figures.wrong.append(f"{scene.name}: two runners ended with {ended}")
    figures.checked(f"{scene.name}, two runners", partial(check_end, folder, expected))


def steps_of(scene: Scene, folder: Path) -> int:
    """How many changes a job makes to its files."""
    with used(Disk(begun(scene, folder))) as disk:
        scene.start(folder)
    return disk.n_steps


def _fail_once(scene: Scene, folder: Path, expected: Path, at: int, kind: str, figures: Figures) -> None:
    begun(scene, folder)
    with used(Failing(folder, at=at, kind=kind)) as disk:
        try:
            scene.start(folder)
        except (OSError, lamina.LaminaError):
            figures.done["starts that failed"] += 1
    if kind == "short" and disk.failed_at != "write":
        return
    figures.done["faults"] += 1
    where = f"{scene.name}, {kind} at step {at}, {disk.failed_at}"
    figures.checked(where, partial(check_state, scene, folder))
    figures.checked(where, partial(_again, scene, folder, expected))


def _again(scene: Scene, folder: Path, expected: Path) -> None:
    scene.start(folder)
    check_end(folder, expected)


def _found_out(folder: Path) -> bool:
    try:
        return bool(verify(folder))
    except lamina.LaminaError:
        return True


def _refused(scene: Scene, folder: Path) -> None:
    try:
        scene.start(folder)
    except lamina.LaminaError as error:
        if "is being written by" not in str(error):
            raise
        os._exit(1)


def _killed_at(scene: Scene, folder: Path, kind: str, at: int, after: bool, tell: int) -> None:
    with used(Killing(folder, kind=kind, at=at, after=after, tell=lambda said: _all(os.write(tell, said.encode())))):
        scene.start(folder)


def forked(act: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a child that ends otherwise would go on as its parent
            traceback.print_exc()
            os._exit(3)
    return pid


def waited(pid: int, kill_after: float | None) -> int:
    """The status of a child that ends by itself, or is killed after so many seconds."""
    started = time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() - started > (kill_after if kill_after is not None else HANGS):
            os.kill(pid, signal.SIGKILL)
            assert kill_after is not None, "a child hung"
            kill_after = None
        time.sleep(0.001)


def _all(_: int) -> None:
    """`write` gives a count."""
