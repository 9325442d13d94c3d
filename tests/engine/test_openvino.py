"""Proves that the OpenVINO engine takes a precision only where the CPU has it, keeps few graphs, and stops clean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

import lamina
from lamina.engine import openvino
from lamina.engine.batch import Batch, Program, Rows
from lamina.engine.openvino import GRAPHS_KEPT, OpenVinoEngine, batch_tokens_for, streams_for
from lamina.engine.reference import ReferenceEngine
from lamina.errors import EngineError
from lamina.extraction.extractor import Extractor
from lamina.model.architecture import FAMILIES, Architecture, architecture_of
from lamina.model.config import read_config
from lamina.model.weights import Weights, read_weights

Parts = tuple[Architecture, Weights]


class Took:
    """A compiled model that says which precision it took."""

    def __init__(self, precision: object) -> None:
        self.precision = precision

    def get_property(self, name: str) -> object:
        return self.precision

    def create_infer_request(self) -> object:
        return object()


class Core:
    """A machine that says of itself what it is told to."""

    def __init__(self, *capabilities: str, took: Any = None) -> None:
        self.capabilities, self.took = list(capabilities), took

    def get_property(self, device: str, name: str) -> object:
        return {"OPTIMIZATION_CAPABILITIES": self.capabilities, "FULL_DEVICE_NAME": "A CPU of 2009"}[name]

    def compile_model(self, model: object, device: str, config: dict[str, object]) -> Took:
        self.config = config
        return Took(self.took)


@pytest.fixture(scope="module")
def parts(tiny_bert: Path) -> Parts:
    arch = architecture_of(read_config(tiny_bert / "config.json"))
    return arch, read_weights([tiny_bert / "model.safetensors"], arch, FAMILIES["bert"])


def engine(parts: Parts, *, precision: Any = "float32", core: Any = None, threads: int = 1) -> OpenVinoEngine:
    return OpenVinoEngine(*parts, precision=precision, threads=threads, core=core)


def batch(seed: int, *, B: int = 3, S: int = 8, weighted: bool = False) -> Batch:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, S + 1, B).astype(np.int32)
    places = [np.arange(i * S, i * S + n, dtype=np.int32) for i, n in enumerate(lengths)]
    ids = rng.integers(0, 60, (B, S)).astype(np.int32)
    weights = rng.normal(size=int(lengths.sum())).astype(np.float32) if weighted else None
    rows = Rows(np.concatenate(places), np.cumsum([0, *lengths[:-1]]).astype(np.int32), weights)
    return Batch(ids, np.zeros_like(ids), lengths, (rows,))


def test_bfloat16_is_refused_where_it_is_not_native(parts: Parts) -> None:
    with pytest.raises(EngineError, match=r"A CPU of 2009.*no native bfloat16.*use one of float32, int8, or 'auto'"):
        engine(parts, precision="bfloat16", core=Core("FP32", "INT8", "BIN"))


@pytest.mark.parametrize(("capabilities", "faster"), [(["FP32"], None), (["FP32", "BF16"], "bfloat16")])
def test_float32_says_what_would_be_faster(parts: Parts, capabilities: list[str], faster: str | None) -> None:
    assert engine(parts, core=Core(*capabilities)).faster == faster


def test_a_precision_that_was_not_taken_is_an_error(parts: Parts) -> None:
    silent = engine(parts, core=Core("FP32", "BF16", took=ov.Type.bf16))
    with pytest.raises(EngineError, match=r"took .*bfloat16.* where .*float32.* was asked for, on A CPU of 2009"):
        silent.compiled(Program((1,), ("sum",)))


def test_long_texts_are_padded_further_where_the_cpu_multiplies_in_tiles(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = tmp_path / "cpuinfo"
    described.write_text("flags\t: fpu avx512_bf16 amx_bf16 amx_tile\n")
    assert openvino.has_tiles(described)
    assert not openvino.has_tiles(tmp_path / "nowhere")
    for has_tiles, expected in ((True, openvino.FINE_TOKENS), (False, None)):
        monkeypatch.setattr(openvino, "has_tiles", lambda has_tiles=has_tiles: has_tiles)
        assert engine(parts, precision="bfloat16", core=Core("FP32", "BF16")).fine_tokens == expected
        assert engine(parts, core=Core("FP32", "BF16")).fine_tokens is None


def test_precision_and_threads_are_always_said(parts: Parts) -> None:
    core = Core("FP32", "BF16", took=ov.Type.f32)
    engine(parts, core=core, threads=3).compiled(Program((1,), ("sum",)))
    assert core.config == {
        "INFERENCE_PRECISION_HINT": ov.Type.f32, "INFERENCE_NUM_THREADS": 3, "NUM_STREAMS": 1,
    }  # fmt: skip


def test_float32_runs_in_float32_on_this_machine(minilm: Extractor) -> None:
    assert isinstance(minilm.engine, OpenVinoEngine)
    compiled = minilm.engine.compiled(Program((1,), ("sum",))).model
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == minilm.engine.threads


def test_a_machine_without_native_bfloat16_says_so_when_a_model_is_loaded(tiny_bert: Path) -> None:
    if "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert lamina.load(tiny_bert, precision="bfloat16").engine.precision == "bfloat16"
        assert lamina.load(tiny_bert, precision="auto").engine.precision in ("float32", "bfloat16")  # as measured
    else:
        with pytest.raises(EngineError, match="no native bfloat16"):
            lamina.load(tiny_bert, precision="bfloat16")
        assert lamina.load(tiny_bert, precision="auto").engine.precision == "float32"


def test_a_program_is_compiled_once_and_only_the_last_few_are_kept(parts: Parts) -> None:
    ours = engine(parts)
    programs = [Program(layers, kinds) for layers in ((0,), (1,), (0, 1)) for kinds in (("sum",), ("max",))]
    first = ours.compiled(programs[0])
    assert ours.compiled(programs[0]) is first
    for program in programs[1:GRAPHS_KEPT]:
        ours.compiled(program)
    assert ours.compiled(programs[0]) is first
    for program in programs[1:]:
        ours.compiled(program)
    assert ours.compiled(programs[0]) is not first
    assert len(ours._graphs) == GRAPHS_KEPT


@pytest.mark.parametrize("reduction", ["sum", "weighted", "max"])
@pytest.mark.parametrize("layers", [(0,), (1,), (0, 1)])
def test_batches_come_back_in_order_and_as_the_reference_reduces_them(
    parts: Parts, layers: tuple[int, ...], reduction: Any
) -> None:
    weighted = reduction == "weighted"
    batches = [batch(seed, B=1 + seed % 4, S=8 * (1 + seed % 2), weighted=weighted) for seed in range(9)]
    program = Program(layers, (reduction,))
    found = [[array.copy() for array in reduced] for (reduced,) in engine(parts).run(program, batches)]
    expected = [list(reduced) for (reduced,) in ReferenceEngine(*parts).run(program, batches)]
    assert len(found) == len(expected) == len(batches)
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs) == len(layers)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_an_engine_left_early_can_be_used_again(parts: Parts) -> None:
    ours, program = engine(parts), Program((1,), ("sum",))
    expected = [reduced[0].copy() for (reduced,) in ours.run(program, [batch(0), batch(1)])]
    for _ in range(5):
        results = ours.run(program, (batch(seed) for seed in range(2, 9)))
        next(results)
        results.close()
    again = [reduced[0].copy() for (reduced,) in ours.run(program, [batch(0), batch(1)])]
    assert all(np.array_equal(a, b) for a, b in zip(expected, again, strict=True))


def test_two_runs_at_once_do_not_disturb_each_other(parts: Parts) -> None:
    ours, program = engine(parts), Program((0, 1), ("sum",))
    expected = [[array.copy() for array in reduced] for (reduced,) in ours.run(program, map(batch, range(6)))]
    runs = [ours.run(program, map(batch, range(6))) for _ in range(2)]
    for wanted in expected:
        for run in runs:
            (reduced,) = next(run)
            assert all(np.array_equal(a, b) for a, b in zip(reduced, wanted, strict=True))


def test_an_engine_asks_for_no_more_batches_than_it_can_work_on(parts: Parts) -> None:
    asked: list[int] = []

    def batches() -> Iterator[Batch]:
        for seed in range(9):
            asked.append(seed)
            yield batch(seed)

    ours = engine(parts)
    results = ours.run(Program((1,), ("sum",)), batches())
    next(results)
    assert len(asked) <= ours.streams + 2
    results.close()


def test_batches_computed_at_once_on_several_streams_have_the_same_bits_in_the_same_order(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, batches = Program((0, 1), ("sum",)), [batch(seed) for seed in range(12)]

    def computed() -> list[bytes]:
        ours = engine(parts, threads=2)
        results = ours.run(program, iter(batches))
        return [b"".join(layer.tobytes() for layer in layers) for (layers,) in results]

    side_by_side = computed()
    assert engine(parts, threads=2).streams == 2
    monkeypatch.setattr(openvino, "streams_for", lambda _: 1)
    assert engine(parts, threads=2).streams == 1
    assert computed() == side_by_side


def test_streams_have_a_thread_each_until_there_are_eight() -> None:
    threads = (0, 1, 2, 7, 8, 9, 16, 64, 96, 128)
    assert [streams_for(n) for n in threads] == [1, 1, 2, 7, 8, 8, 8, 8, 12, 16]
    assert [batch_tokens_for(n) for n in threads] == [1024] * 6 + [2048] * 4


def test_fewer_batches_than_streams_have_a_graph_of_one_stream(parts: Parts) -> None:
    ours, program = engine(parts, threads=2), Program((1,), ("sum",))
    found: list[list[bytes]] = []
    for n in (1, 2, 3):
        found.append([layer.tobytes() for ((layer,),) in ours.run(program, (batch(seed) for seed in range(n)))])
        assert list(ours._graphs) == ([(program, 1)] if n < 2 else [(program, 1), (program, 2)])
        for kept, streams in list(ours._graphs):
            assert ours.compiled(kept, streams=streams).model.get_property("NUM_STREAMS") == streams
    assert found[:2] == [found[2][:n] for n in (1, 2)]


def test_a_batch_is_filled_up_to_a_round_number_unseen(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: set[tuple[int, ...]] = set()
    inputs = openvino._inputs

    def watched(batch: Batch, program: Program) -> openvino.Inputs:
        given = inputs(batch, program)
        shapes.add(given["ids"].shape)
        assert given["types"].shape == given["ids"].shape
        assert given["lengths"].shape == given["ids"].shape[:1]
        assert (given["lengths"] >= 1).all()
        return given

    monkeypatch.setattr(openvino, "_inputs", watched)
    program = Program((0, 1), ("sum",))
    batches = [batch(B, B=B) for B in range(8, 33)]
    found = [[array.copy() for array in reduced] for (reduced,) in engine(parts).run(program, batches)]
    assert sorted(shapes) == [(B, 8) for B in (8, 10, 12, 14, 16, 20, 24, 28, 32)]
    expected = [list(reduced) for (reduced,) in ReferenceEngine(*parts).run(program, batches)]
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_no_batch_gives_no_result(parts: Parts) -> None:
    assert list(engine(parts).run(Program((1,), ("sum",)), [])) == []
