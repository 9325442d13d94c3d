"""How exactly does every family agree with transformers, layer by layer? Random checkpoints, both engines, float32.

    python benchmarks/parity.py [--quick] [--family NAME ...]

For each family a seeded random checkpoint of its own kind (attention, positions, projections, shared layers), and BERTs
of the real shapes 12 × 768 and 24 × 1024 (`--quick` leaves the latter out). transformers reads each text alone,
unpadded, with eager attention; the engines read all texts in one padded batch. The error of a layer is the worst
text's L2 norm of the difference over that of the state. No tokenizer, no download, about two minutes.

Prints a table (errors in units of 1e-7, layer 0 first) and one JSON line; exits with 1 where an error is above 1e-5.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}

import numpy as np
import torch
import transformers

from lamina.engine.batch import Batch, Program, Rows
from lamina.engine.openvino import OpenVinoEngine
from lamina.engine.reference import ReferenceEngine
from lamina.engine.threads import available_threads
from lamina.model.architecture import architecture_of, family_of
from lamina.model.config import read_config
from lamina.model.weights import read_weights

BOUND = 1e-5
LENGTHS = (61, 1, 8, 23, 40)  # tokens of each text

SMALL = {
    "vocab_size": 500, "hidden_size": 96, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 200,
    "max_position_embeddings": 80,
}  # fmt: skip
BASE = {"vocab_size": 3_000, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
LARGE = {
    "vocab_size": 3_000, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 4096,
}  # fmt: skip
DISTILLED = {
    "vocab_size": 500, "dim": 96, "n_layers": 6, "n_heads": 6, "hidden_dim": 200, "max_position_embeddings": 80,
}  # fmt: skip
DISENTANGLED = {"relative_attention": True, "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]}
V3 = {**DISENTANGLED, "share_att_key": True, "norm_rel_ebd": "layer_norm", "position_buckets": 16}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}

# Family, shape, configuration.
CHECKPOINTS: list[tuple[str, str, dict[str, Any]]] = [
    ("bert", "6 × 96", SMALL),
    ("roberta", "6 × 96", SMALL),
    ("xlm-roberta", "6 × 96", SMALL),
    ("camembert", "6 × 96", SMALL),
    ("distilbert", "6 × 96", DISTILLED),
    ("electra", "6 × 96", SMALL | {"embedding_size": 48}),
    ("albert", "6 × 96", SMALL | {"embedding_size": 48, "num_hidden_groups": 2}),
    ("mpnet", "6 × 96", SMALL),
    ("deberta", "6 × 96", SMALL | DISENTANGLED),
    ("deberta-v2", "6 × 96", SMALL | V3),
    ("deberta-v2", "6 × 96 conv", SMALL | V3 | {"conv_kernel_size": 3, "conv_act": "gelu"}),
    ("modernbert", "6 × 96", SMALL | SPECIAL | {"local_attention": 16}),
    ("nomic_bert", "6 × 96", SMALL),
    ("bert", "12 × 768", BASE),
    ("bert", "24 × 1024", LARGE),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the large shape")
    parser.add_argument("--family", action="append", help="only this one; may be given several times")
    arguments = parser.parse_args()
    started, results = time.monotonic(), []
    print(f"{'family':<12} {'shape':<12} {'engine':<10} {'worst':>8}  errors by layer, in 1e-7")
    for family, shape, config in CHECKPOINTS:
        if (arguments.quick and config is LARGE) or (arguments.family and family not in arguments.family):
            continue
        for engine, errors in compared(family, config):
            results.append({"family": family, "shape": shape, "engine": engine, "errors": errors})
            by_layer = " ".join(f"{error * 1e7:.0f}" for error in errors)
            print(f"{family:<12} {shape:<12} {engine:<10} {max(errors):8.1e}  {by_layer}", flush=True)
    worst = max((max(result["errors"]) for result in results), default=0.0)
    print(f"worst {worst:.1e}, bound {BOUND:.0e}; {time.monotonic() - started:.0f} s\n")
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    print(json.dumps({"benchmark": "parity", "bound": BOUND, "worst": worst, **versions, "results": results}))
    return int(worst > BOUND)


def compared(family: str, config: dict[str, Any]) -> Iterator[tuple[str, list[float]]]:
    """Each engine's name and its error after each layer."""
    torch.manual_seed(0)
    model = randomised(transformers.AutoModel.from_config(
        transformers.AutoConfig.for_model(family, **config), attn_implementation="eager"
    ))  # fmt: skip
    random = np.random.default_rng(0)
    texts = [random.integers(3, config["vocab_size"], length).astype(np.int32) for length in LENGTHS]
    expected = oracle(model, texts)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        del model
        described = read_config(Path(folder) / "config.json")
        arch = architecture_of(described)
        weights = read_weights(sorted(Path(folder).glob("*.safetensors")), arch, family_of(described))
        for engine in (
            ReferenceEngine(arch, weights),
            OpenVinoEngine(arch, weights, precision="float32", threads=available_threads()),
        ):
            program = Program(tuple(range(arch.n_layers + 1)), ("sum",))
            (layers,) = next(engine.run(program, [batch_of(texts)]))
            yield engine.name, [worst_error(found, state) for found, state in zip(layers, expected, strict=True)]


def randomised(model: Any) -> Any:
    """Every number random, biases and norms too; wide enough that attention is no plain average."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name.lower():
                tensor.normal_(float(name.endswith("weight")), 0.1)
            elif tensor.ndim == 1:
                tensor.normal_(0, 0.1)
            else:
                tensor.normal_(0, 1.0 if "embedding" in name else 1.5 / tensor[0].numel() ** 0.5)
    return model.eval()


def oracle(model: Any, texts: list[np.ndarray]) -> list[list[np.ndarray]]:
    """For each layer, the state [T, D] of each text, read alone."""
    with torch.inference_mode():
        outputs = [model(torch.tensor(ids[None]).long(), output_hidden_states=True).hidden_states for ids in texts]
    return [[state[0].numpy() for state in states] for states in zip(*outputs, strict=True)]


def batch_of(texts: list[np.ndarray]) -> Batch:
    """All texts in one batch, one row for each token."""
    S = max(map(len, texts))
    ids = np.zeros((len(texts), S), np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    index = np.concatenate([b * S + np.arange(len(text)) for b, text in enumerate(texts)]).astype(np.int32)
    rows = Rows(index, np.arange(index.size, dtype=np.int32))
    return Batch(ids, np.zeros_like(ids), np.array(list(map(len, texts)), np.int32), (rows,))


def worst_error(found: np.ndarray, expected: list[np.ndarray]) -> float:
    """The worst text's L2 norm of the difference over that of the state."""
    by_text = np.split(found.astype(np.float64), np.cumsum(list(map(len, expected)))[:-1])
    return max(float(np.linalg.norm(f - e) / np.linalg.norm(e)) for f, e in zip(by_text, expected, strict=True))


if __name__ == "__main__":
    sys.exit(main())
