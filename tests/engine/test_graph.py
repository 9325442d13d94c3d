"""Proves what OpenVINO makes of the encoder: each layer's attention one node, each matrix one with all that follows it.

Read from the compiled model itself, so that a change of OpenVINO or of the graph that undoes a fusion is seen.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from lamina.engine.batch import Program
from lamina.engine.openvino import OpenVinoEngine, build
from lamina.extraction.extractor import Extractor
from lamina.model.architecture import FAMILIES, Architecture, architecture_of
from lamina.model.checkpoint import find_checkpoint
from lamina.model.config import read_config
from lamina.model.weights import Weights, read_weights


class Node(NamedTuple):
    """A node of the executable graph: its kind, and the kinds of the nodes that were fused into it."""

    kind: str
    origins: tuple[str, ...]


def nodes_of(model: Extractor, layers: tuple[int, ...], reductions: tuple[Any, ...] = ("sum",)) -> list[Node]:
    engine = model.engine
    assert isinstance(engine, OpenVinoEngine)
    nodes = []
    for operation in engine.compiled(Program(layers, reductions)).model.get_runtime_model().get_ordered_ops():
        info = operation.get_rt_info()
        names = [name for name in str(info["originalLayersNames"].astype(str)).split(",") if name]
        nodes.append(Node(str(info["layerType"].astype(str)), tuple(name.rsplit("_", 1)[0] for name in names)))
    return nodes


def kinds(nodes: list[Node]) -> Counter[str]:
    return Counter(node.kind for node in nodes if node.kind not in ("Const", "Input", "Output"))


@pytest.fixture(scope="module")
def nodes(minilm: Extractor) -> list[Node]:
    """The executable graph of every layer of the bundled model."""
    return nodes_of(minilm, tuple(range(7)))


def test_attention_is_one_node_a_layer(nodes: list[Node]) -> None:
    attention = [node for node in nodes if "Softmax" in node.origins or "ScaledDotProductAttention" in node.origins]
    assert len(attention) == 6
    assert kinds(nodes)["Softmax"] == 0
    assert kinds(nodes)["MatMul"] == 0


def test_every_matrix_takes_its_bias_with_it(nodes: list[Node]) -> None:
    matrices = [node for node in nodes if node.kind == "FullyConnected"]
    assert len(matrices) == 6 * 6  # query, key, value, output, up, down
    assert all(node.origins[0] == "Add" for node in matrices)


def test_gelu_is_computed_where_its_matrix_is(nodes: list[Node]) -> None:
    assert [node.kind for node in nodes if "Gelu" in node.origins] == ["FullyConnected"] * 6
    assert kinds(nodes)["Gelu"] == 0


def test_no_sum_is_left_alone_but_residuals_and_the_embeddings(nodes: list[Node]) -> None:
    sums = [node for node in nodes if node.kind == "Eltwise" and set(node.origins) == {"Add"}]
    assert len(sums) == 2 * 6 + 1


def test_a_norm_is_two_nodes(nodes: list[Node]) -> None:
    assert kinds(nodes)["MVN"] == 2 * 6 + 1
    assert sum(node.origins == ("Multiply", "Add") and node.kind == "Eltwise" for node in nodes) == 2 * 6 + 1


def test_each_layer_leaves_the_graph_reduced(nodes: list[Node]) -> None:
    assert kinds(nodes)["EmbeddingBagOffsets"] == 7
    assert sum(node.kind == "Output" for node in nodes) == 7


def test_precisions_are_never_converted_in_float32(nodes: list[Node]) -> None:
    assert kinds(nodes)["Convert"] == 0
    assert kinds(nodes)["Reorder"] == 0


@pytest.mark.parametrize(("layers", "n_matrices"), [((0,), 0), ((1,), 6), ((3,), 18), ((0, 2), 12), ((6,), 36)])
def test_nothing_above_the_highest_layer_asked_for_is_run(
    minilm: Extractor, layers: tuple[int, ...], n_matrices: int
) -> None:
    found = nodes_of(minilm, layers)
    assert kinds(found)["FullyConnected"] == n_matrices
    assert kinds(found)["MVN"] == 1 + n_matrices // 3
    assert kinds(found)["EmbeddingBagOffsets"] == len(layers)


@pytest.fixture(scope="module")
def minilm_parts() -> tuple[Architecture, Weights]:
    checkpoint = find_checkpoint("minilm")
    arch = architecture_of(read_config(checkpoint.config_path))
    return arch, read_weights(checkpoint.weight_files(), arch, FAMILIES["bert"])


def test_a_graph_grows_with_its_highest_layer_alone(minilm_parts: tuple[Architecture, Weights]) -> None:
    def size(*layers: int) -> int:
        return len(build(*minilm_parts, Program(layers, ("sum",))).get_ordered_ops())

    sizes = [size(k) for k in range(7)]
    assert sizes[0] < sizes[1]  # and the mask, which all layers share
    assert len({after - before for before, after in pairwise(sizes[1:])}) == 1
    assert sizes[1] < sizes[2]
    assert size(0, 1, 2, 3) < size(4)  # to emit a layer is cheaper than to run one more


def test_weights_enter_the_graph_without_a_copy(minilm_parts: tuple[Architecture, Weights]) -> None:
    arch, weights = minilm_parts
    graph = build(arch, weights, Program((1,), ("sum",)))
    constants = [node for node in graph.get_ordered_ops() if node.get_type_name() == "Constant"]
    table = next(node for node in constants if list(node.get_output_shape(0)) == [arch.vocab_size, arch.width])
    mapped = weights["embeddings.word.weight"]
    assert table.data.__array_interface__["data"][0] == mapped.__array_interface__["data"][0]
