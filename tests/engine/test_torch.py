"""Proves that the torch engine reduces as the reference does, keeps order, stops clean, leaves the process as it was.

What needs a GPU is not here: `benchmarks/gpu.py` checks parity and bits on the device before it measures.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread
from threading import enumerate as enumerate_threads
from time import sleep
from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina.engine import devices
from lamina.engine.batch import Batch, Program, Rows
from lamina.engine.devices import has_gpu
from lamina.engine.reference import ReferenceEngine
from lamina.engine.torch import CPU_TILE, TorchEngine
from lamina.engine.torch_devices import Float32Products, device_tokens, n_gpus
from lamina.engine.torch_reduction import place_rows, reduced
from lamina.engine.torch_transfer import Resident
from lamina.engine.torch_workers import Workers
from lamina.errors import EngineError, MissingExtraError, SpecError
from lamina.model.architecture import FAMILIES, Architecture, architecture_of
from lamina.model.config import read_config
from lamina.model.weights import Weights, read_weights
from tests.engine.test_openvino import batch
from tests.oracle import relative_error

Parts = tuple[Architecture, Weights]
BOUNDS = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 3e-3}  # of 8 bits of mantissa, and of 11


@pytest.fixture(scope="module")
def parts(deep_bert: Path) -> Parts:
    arch = architecture_of(read_config(deep_bert / "config.json"))
    return arch, read_weights([deep_bert / "model.safetensors"], arch, FAMILIES["bert"])


def weighed(one: Batch) -> Batch:
    """The same with a weight of its own for each place."""
    (rows,) = one.rows
    weights = np.linspace(0.5, 300.25, rows.index.size, dtype=np.float32)
    return Batch(one.ids, one.types, one.lengths, (Rows(rows.index, rows.offsets, weights),))


@pytest.mark.parametrize("precision", list(BOUNDS))
@pytest.mark.parametrize("reduction", ["sum", "weighted", "max"])
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_come_back_in_order_and_as_the_reference_reduces_them(
    parts: Parts, precision: Any, reduction: Any, threads: int
) -> None:
    batches = [batch(seed, B=1 + seed % 4, S=8 * (1 + seed % 2)) for seed in range(9)]
    if reduction == "weighted":
        batches = [weighed(one) for one in batches]
    program = Program((0, 3), (reduction,))
    engine = TorchEngine(*parts, precision=precision, threads=threads)
    found = [[array.copy() for array in of_batch] for (of_batch,) in engine.run(program, batches)]
    expected = [list(of_batch) for (of_batch,) in ReferenceEngine(*parts).run(program, batches)]
    assert len(found) == len(expected) == len(batches)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs) == 2
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == np.float32
            assert a.shape == b.shape
            assert relative_error(a, b) <= BOUNDS[precision]


def test_several_reductions_and_one_without_rows(parts: Parts) -> None:
    one = batch(0)
    nothing = Rows(np.zeros(0, np.int32), np.zeros(0, np.int32))
    single = Rows(one.rows[0].index, np.arange(one.rows[0].index.size, dtype=np.int32))
    both = Batch(one.ids, one.types, one.lengths, (one.rows[0], nothing, single))
    program = Program((2,), ("sum", "sum", "max"))
    ((sums, none, each),) = TorchEngine(*parts).run(program, [both])
    assert none[0].shape == (0, 48)
    starts = one.rows[0].offsets
    assert relative_error(np.add.reduceat(each[0], starts), sums[0]) <= 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_sums_and_maxima_of_many_large_numbers(dtype: torch.dtype) -> None:
    """A float16 ends at 65,504: 700 numbers of 300 are more than that."""
    counts = [700, 1, 3, 256]
    state = torch.randn(960, 40).mul(30).add(300).to(dtype)
    rows = Rows(np.arange(960, dtype=np.int32), np.cumsum([0, *counts[:-1]]).astype(np.int32))
    on_device = [torch.from_numpy(rows.index), torch.from_numpy(rows.offsets)]
    placed = place_rows(rows, iter(on_device), dtype)
    sums, maxima = (reduced(state, placed, kind) for kind in ("sum", "max"))
    of_rows = torch.split(state.double(), counts)
    assert sums.dtype == maxima.dtype == torch.float32
    expected = torch.stack([of_row.sum(0) for of_row in of_rows])
    assert (sums / expected - 1).abs().max() <= {torch.float32: 1e-5, torch.bfloat16: 4e-3, torch.float16: 5e-4}[dtype]
    assert torch.equal(maxima, torch.stack([of_row.amax(0) for of_row in of_rows]).float())


def test_tiles_change_nothing_but_the_order_of_sums(parts: Parts) -> None:
    batches = [batch(seed, B=40, S=16) for seed in range(3)]
    program = Program((0, 12), ("sum",))
    assert int(batches[0].lengths.sum()) % CPU_TILE
    tiled, whole = (list(TorchEngine(*parts, tiled=tiled).run(program, batches)) for tiled in (True, False))
    for (ours,), (theirs,) in zip(tiled, whole, strict=True):
        assert all(relative_error(a, b) <= 1e-5 for a, b in zip(ours, theirs, strict=True))


def test_an_engine_left_early_can_be_used_again(parts: Parts) -> None:
    engine, program = TorchEngine(*parts, threads=2), Program((1,), ("sum",))
    expected = [of_batch[0].copy() for (of_batch,) in engine.run(program, [batch(0), batch(1)])]
    for _ in range(5):
        results = engine.run(program, (batch(seed) for seed in range(2, 9)))
        next(results)
        results.close()
    again = [of_batch[0].copy() for (of_batch,) in engine.run(program, [batch(0), batch(1)])]
    assert all(np.array_equal(a, b) for a, b in zip(expected, again, strict=True))


def test_two_runs_at_once_do_not_disturb_each_other(parts: Parts) -> None:
    engine, program = TorchEngine(*parts, threads=2), Program((0, 1), ("sum",))
    expected = [[array.copy() for array in of_batch] for (of_batch,) in engine.run(program, map(batch, range(6)))]
    runs = [engine.run(program, map(batch, range(6))) for _ in range(2)]
    for wanted in expected:
        for run in runs:
            (of_batch,) = next(run)
            assert all(np.array_equal(a, b) for a, b in zip(of_batch, wanted, strict=True))


def test_an_engine_asks_for_no_more_batches_than_it_can_work_on(parts: Parts) -> None:
    asked: list[int] = []

    def batches() -> Iterator[Batch]:
        for seed in range(9):
            asked.append(seed)
            yield batch(seed)

    results = TorchEngine(*parts, threads=2).run(Program((1,), ("sum",)), batches())
    next(results)
    assert len(asked) <= 4
    results.close()


def test_no_batch_gives_no_result(parts: Parts) -> None:
    assert list(TorchEngine(*parts).run(Program((1,), ("sum",)), [])) == []


def test_what_goes_wrong_in_a_thread_is_raised_and_the_next_run_is_sound(parts: Parts) -> None:
    engine, program = TorchEngine(*parts, threads=2), Program((1,), ("sum",))
    good = batch(0)
    bad = Batch(np.full_like(good.ids, 10**6), good.types, good.lengths, good.rows)  # no row of the table
    with pytest.raises(IndexError):
        list(engine.run(program, [good, bad, good]))
    assert len(list(engine.run(program, [good, good]))) == 2


def test_a_batch_that_does_not_fit_says_what_to_do(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine(*parts)

    def too_much(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("lamina.engine.torch.reduced", too_much)
    with pytest.raises(EngineError, match=r"batch of \d+ tokens does not fit.*smaller batch_tokens"):
        list(engine.run(Program((1,), ("sum",)), [batch(0)]))


def test_the_process_keeps_its_threads_and_its_flags(parts: Parts) -> None:
    before = torch.get_num_threads()
    flag = torch.backends.mkldnn.matmul.fp32_precision
    program = Program((12,), ("sum",))
    exact = [of_batch[0].copy() for (of_batch,) in TorchEngine(*parts, threads=3).run(program, [batch(0, B=40, S=16)])]
    assert torch.get_num_threads() == before
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        results = TorchEngine(*parts).run(program, [batch(0, B=40, S=16)])
        assert np.array_equal(next(results)[0][0], exact[0])  # float32, whatever the process has set
        results.close()
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        tf32, of_cuda = Float32Products("tf32"), torch.backends.cuda.matmul
        before_cuda = of_cuda.fp32_precision
        tf32.__enter__()  # one run begins, another, the first ends
        with tf32:
            tf32.__exit__()
            assert of_cuda.fp32_precision == "tf32"
        assert of_cuda.fp32_precision == before_cuda
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = flag


def test_float32_weights_are_not_copied_and_others_are_made_once(parts: Parts) -> None:
    _, weights = parts
    name = "layers.3.ffn.up.weight"
    held = Resident(weights, torch.device("cpu"), torch.float32)
    assert held.weight(name).data_ptr() == weights[name].__array_interface__["data"][0]
    narrow = Resident(weights, torch.device("cpu"), torch.bfloat16)
    assert narrow.weight(name).dtype == torch.bfloat16
    assert narrow.weight(name) is narrow.weight(name)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"device": "gpu"}, SpecError, "device must be one of auto, cpu, cuda, mps or cuda:0"),
        ({"device": "cuda:"}, SpecError, "not 'cuda:'"),
        ({"engine": "openvino", "device": "cuda"}, SpecError, "engine 'openvino' computes on the CPU, not on 'cuda'"),
        ({"engine": "torch", "precision": "int8"}, SpecError, "torch engine computes float32, tf32, .* not int8"),
        ({"engine": "torch", "device": "cpu", "precision": "tf32"}, EngineError, "cpu has no native tf32"),
        ({"engine": "torch", "device": "cuda:7"}, EngineError, "device 'cuda:7' is not there"),
    ],
)
def test_what_is_not_there_is_said(tiny_bert: Path, options: dict[str, str], error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        lamina.load(tiny_bert, **options)  # type: ignore[arg-type]


def test_without_torch_the_pip_line_is_said(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"engine 'torch' needs torch: pip install 'lamina\[torch\]'"):
        lamina.load(tiny_bert, engine="torch")
    assert lamina.load(tiny_bert).engine.name == "openvino"


def test_a_gpu_is_looked_for_only_where_a_driver_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "version"
    monkeypatch.setattr("lamina.engine.torch_devices.n_gpus", lambda: 2)
    assert not has_gpu((driver,))
    driver.touch()
    assert has_gpu((driver,))
    monkeypatch.setattr("lamina.engine.torch_devices.n_gpus", lambda: 0)
    assert not has_gpu((driver,))
    monkeypatch.setattr(devices, "find_spec", lambda _: None)
    monkeypatch.setattr("lamina.engine.torch_devices.n_gpus", lambda: 2)
    assert not has_gpu((driver,))


@pytest.mark.skipif(n_gpus() > 0, reason="a GPU is there")
def test_auto_is_openvino_where_there_is_no_gpu(tiny_bert: Path) -> None:
    assert lamina.load(tiny_bert).engine.name == "openvino"
    assert lamina.load(tiny_bert, engine="torch").engine.name == "torch cpu"
    with pytest.raises(EngineError, match="sees 0 GPUs"):
        lamina.load(tiny_bert, device="cuda")


@pytest.mark.skipif(n_gpus() > 0, reason="a GPU is there")
def test_where_there_is_no_driver_torch_is_not_even_imported(tiny_bert: Path) -> None:
    code = f"import lamina, sys; lamina.load({str(tiny_bert)!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("memory", "n_tokens"), [(141 << 30, 1 << 16), (8 << 30, 1 << 14), (1 << 30, 1 << 12)])
def test_a_batch_suits_the_memory(parts: Parts, monkeypatch: pytest.MonkeyPatch, memory: int, n_tokens: int) -> None:
    from dataclasses import replace
    from types import SimpleNamespace

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=memory))
    base = replace(parts[0], width=768, ffn_width=3072)
    assert device_tokens(base, torch.bfloat16, torch.device("cuda", 0), n_at_once=3) == n_tokens


def test_a_dataset_says_which_engine_made_it(tiny_bert: Path, tmp_path: Path) -> None:
    model = lamina.load(tiny_bert, engine="torch", precision="bfloat16")
    made = lamina.extract(["the river", "a bank"], tmp_path / "out", model=model).manifest.made
    assert (made.engine, made.precision) == ("torch cpu", "bfloat16")
    assert made.versions["torch"] == torch.__version__
    assert "openvino" not in made.versions


def test_attention_has_the_same_bits_in_every_batch(parts: Parts) -> None:
    one = batch(3, B=5, S=16)
    engine = TorchEngine(*parts, threads=2)
    together = engine.attention((2, 12), one)
    for b in range(5):
        alone = Batch(one.ids[b : b + 1], one.types[b : b + 1], one.lengths[b : b + 1], ())
        for found, expected in zip(engine.attention((2, 12), alone), together, strict=True):
            assert np.array_equal(found[0], expected[b])


def test_workers_share_the_devices_and_keep_order() -> None:
    devices = [torch.device("cpu"), torch.device("meta"), torch.device("cpu")]
    workers = Workers(devices)
    barrier = Barrier(3)

    def compute(device: torch.device, number: int) -> tuple[str, int]:
        if number < 3:
            barrier.wait()  # all three are at work at once
        sleep(0.02 if number % 3 == 0 else 0)
        return device.type, number

    found = list(workers.in_order(compute, range(12)))
    assert [number for _, number in found] == list(range(12))
    assert sorted(kind for kind, _ in found[:3]) == ["cpu", "cpu", "meta"]


def test_the_threads_of_an_engine_that_is_gone_end(parts: Parts) -> None:
    def ours() -> set[Thread]:
        return {thread for thread in enumerate_threads() if thread.name.startswith("lamina-torch")}

    before = ours()
    engine = TorchEngine(*parts, threads=3)
    begun = ours() - before
    assert len(begun) == 3
    del engine
    gc.collect()
    for thread in begun:
        thread.join(timeout=5)
        assert not thread.is_alive()
