"""Proves that memory is bounded by the part that is worked on, not by the corpus: a stream of many times the bound."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.checkpoints import save_bert
from tests.languages.corpus import multilingual

BOUND = 150e6  # bytes
PARTS_OF = 256  # texts: as many as 8,192 are the library's own, which 3,000 texts would not fill once

# Streams the texts in every unit, keeps nothing, and prints by how much the peak grew after the first part of each.
SCRIPT = """
import json, resource, sys
import lamina, lamina.extraction.regroup

lamina.extraction.regroup.MAX_TEXTS = int(sys.argv[3])
texts = json.loads(open(sys.argv[2], "rb").read())
model = lamina.load(sys.argv[1])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
first = None
n_parts = n_rows = n_bytes = 0
for unit in ("text", "word", "token", "sentence"):
    for part in model.stream(iter(texts), unit=unit):
        first = first or peak()
        n_parts, n_rows = n_parts + 1, n_rows + len(part)
        n_bytes += sum(matrix.nbytes for matrix in part.columns.values())
print(json.dumps({"growth": peak() - first, "n_parts": n_parts, "n_rows": n_rows, "n_bytes": n_bytes}))
"""


def test_memory_grows_with_no_corpus(shared_data: Path, tmp_path: Path) -> None:
    texts = multilingual(shared_data, every=3)[:3000]
    assert len(texts) == 3000
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    shape = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 64}
    folder = save_bert(tmp_path / "model", **shape)
    command = [sys.executable, "-c", SCRIPT, str(folder), str(tmp_path / "texts.json"), str(PARTS_OF)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    assert found["n_parts"] >= 4 * (3000 // PARTS_OF)
    assert found["n_bytes"] > 2 * BOUND  # else it could not grow by as much, kept or not
    assert found["growth"] < BOUND, found
