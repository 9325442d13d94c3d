"""Proves that two processes learn what one does: they share each step's examples and add up their gradients."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lamina.train.classify import train_classifier
from tests.train.small import sentences, settings, small_bert

TRAIN = """
import sys
from tests.train.small import sentences, settings
from lamina.train.classify import train_classifier

how = settings(batch_size=7, dropout=0.0, attention_dropout=0.0)
train_classifier(sys.argv[1], sentences(40), out=sys.argv[2], settings=how)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="gloo is tested on Linux and macOS")
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    model = small_bert(tmp_path / "model")
    how = settings(batch_size=7, dropout=0.0, attention_dropout=0.0)
    alone = train_classifier(model, sentences(40), out=tmp_path / "alone", settings=how)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, model, tmp_path / "shared"], cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            env=os.environ | {
                "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true",
            },
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in processes:
        _, said = process.communicate(timeout=100)
        assert process.returncode == 0, said.decode()
    import json

    record = json.loads((tmp_path / "shared" / "training.json").read_text())
    assert record["processes"] == 2
    assert np.allclose(record["losses"], alone.record["losses"], rtol=1e-4)
    assert record["n_tokens"] == alone.record["n_tokens"]
    assert record["figures"]["loss"] == pytest.approx(alone.record["figures"]["loss"], rel=1e-3)
