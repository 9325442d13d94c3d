"""A model folder that anybody may have written: it chooses no code, no file outside, no memory, no wrong vectors."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz import samples

import lamina
from lamina.errors import CheckpointError, LaminaError, TextError
from lamina.extraction.extractor import Extractor
from lamina.model.checkpoint import INDEX, SINGLE, find_checkpoint
from lamina.text.text import Text

BACKTRACKING = "(x+x+)+y"  # gives up on a row of x, in the native code of the tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return samples.save_model(tmp_path / "model")


def with_index(folder: Path, name: str) -> Path:
    """The folder with its weights in a file that an index names."""
    (folder / SINGLE).rename(folder / "model-1.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": name}}))
    return folder


# Code


@pytest.mark.parametrize(
    "more",
    [
        {"auto_map": {"AutoModel": "modeling.Evil", "AutoConfig": "modeling.Evil"}},
        {
            "trust_remote_code": True,
            "_attn_implementation": "evil/kernel",
            "custom_pipelines": {"x": {"impl": "evil.X"}},
        },
        {"_attn_implementation_internal": "evil/kernel", "quantization_config": {"quant_method": "evil"}},
    ],
)
def test_a_configuration_chooses_no_code(folder: Path, more: dict[str, Any]) -> None:
    """Keys of which transformers made an import are never looked at."""
    (folder / "modeling.py").write_text("raise SystemExit('it was run')")
    (folder / "config.json").write_text(json.dumps(samples.CONFIG | more))
    before = set(sys.modules)
    sound = lamina.load(samples.save_model(folder.parent / "sound"), engine="reference").extract(["the ab"])
    found = lamina.load(folder, engine="reference").extract(["the ab"])
    assert np.array_equal(found.layer(2), sound.layer(2))
    assert not {name for name in set(sys.modules) - before if "evil" in name or "modeling" in name}


def test_modules_choose_no_code(folder: Path) -> None:
    samples.save_sentence_model(folder)
    modules = samples.model_json_files()["modules.json"]
    modules[2]["type"] = "os.system"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match=r"names the module 'os\.system', which Lamina does not know"):
        lamina.load(folder).extract(["a"], pool="model")


def test_a_pickle_called_safetensors_is_not_read(folder: Path) -> None:
    (folder / SINGLE).write_bytes(b"\x80\x04\x95\x1b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93.")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        lamina.load(folder)


# Paths


@pytest.mark.parametrize(
    "name",
    [
        "../x.safetensors",
        "/etc/x.safetensors",
        "a/b.safetensors",
        "..",
        "",
        "c:\\x.safetensors",
        "x.bin",
        None,
        3,
        ["x"],
        "x" * 300 + ".safetensors",
    ],
    ids=lambda name: str(name)[:20],
)
def test_an_index_names_nothing_but_plain_files(folder: Path, name: Any) -> None:
    with pytest.raises(CheckpointError, match=r"names .*which is no plain file name|is no index"):
        find_checkpoint(with_index(folder, name)).weight_files()


def test_an_index_of_thousands_of_files_is_refused(folder: Path) -> None:
    (folder / SINGLE).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": {str(i): f"{i}.safetensors" for i in range(1_001)}}))
    with pytest.raises(CheckpointError, match="it names 1,001 files, expected 1 to 1,000"):
        find_checkpoint(folder).weight_files()


@pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege on Windows")
def test_what_an_index_names_may_be_no_link_out_of_the_folder(folder: Path) -> None:
    outside = folder.parent / "secret.safetensors"
    shutil.copy(folder / SINGLE, outside)
    (folder / "linked.safetensors").symlink_to(outside)
    with_index(folder, "linked.safetensors")
    with pytest.raises(CheckpointError, match=r"'linked\.safetensors', which is a link out of"):
        lamina.load(folder)
    (folder / "linked.safetensors").unlink()
    (folder / "linked.safetensors").symlink_to("model-1.safetensors")
    assert lamina.load(folder).architecture.n_layers == 2


@pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege on Windows")
def test_the_hubs_cache_is_made_of_links_and_is_read(folder: Path) -> None:
    """models--org--name/snapshots/COMMIT/file -> ../../blobs/HASH, and to nothing else."""
    with_index(folder, "model-1.safetensors")
    repo = folder.parent / "models--org--name"
    (repo / "blobs").mkdir(parents=True)
    snapshot = repo / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        shutil.copy(path, repo / "blobs" / f"hash-{path.name}")
        (snapshot / path.name).symlink_to(Path("..") / ".." / "blobs" / f"hash-{path.name}")
    assert lamina.load(snapshot).architecture.n_layers == 2
    (repo / "secret").write_bytes((repo / "blobs" / "hash-model-1.safetensors").read_bytes())
    (snapshot / "model-1.safetensors").unlink()
    (snapshot / "model-1.safetensors").symlink_to(Path("..") / ".." / "secret")
    with pytest.raises(CheckpointError, match="link out of"):
        lamina.load(snapshot)


@pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege on Windows")
def test_a_module_may_be_no_link_out_of_the_folder(folder: Path) -> None:
    samples.save_sentence_model(folder)
    shutil.move(folder / "1_Pooling", folder.parent / "elsewhere")
    (folder / "1_Pooling").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(CheckpointError, match="'1_Pooling', which is a link out of"):
        lamina.load(folder).sentence_recipe()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_place_of_a_file_does_not_hang(folder: Path) -> None:
    for name in ("config.json", SINGLE):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(CheckpointError, match=f"{name}"):
            lamina.load(folder)
        (folder / name).unlink()
        samples.save_model(folder)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5_000, "a/" * 3_000, "a\0b"])
def test_a_name_that_no_folder_can_have_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError):
        find_checkpoint(name)


# Memory


@pytest.mark.parametrize(
    "sizes",
    [
        {"vocab_size": 4_194_304, "hidden_size": 16_384},
        {"max_position_embeddings": 1_048_576},
        {"intermediate_size": 131_072},
        {"num_hidden_layers": 512},
    ],
    ids=str,
)
def test_sizes_that_the_weights_do_not_have_take_no_memory(folder: Path, sizes: dict[str, int]) -> None:
    """The largest that the configuration may say, far beyond this machine: refused by the tensors' shapes alone."""
    resource = pytest.importorskip("resource")
    (folder / "config.json").write_text(json.dumps(samples.CONFIG | sizes))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError):
        lamina.load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


# Tokenizers


def tokenizer_json(folder: Path, **changes: Any) -> Path:
    """The folder with a tokenizer.json, some of whose parts are other ones."""
    (folder / "tokenizer.json").write_text(json.dumps(json.loads(samples.tokenizers()["wordpiece"]) | changes))
    return folder


def backtracking(folder: Path) -> Extractor:
    split = {"type": "Split", "pattern": {"Regex": BACKTRACKING}, "behavior": "Isolated", "invert": False}
    return lamina.load(tokenizer_json(folder, pre_tokenizer=split))


def test_a_panic_costs_its_own_row(folder: Path) -> None:
    """Rust's panics are no `Exception`; the neighbours in the same call get what they get alone."""
    model = backtracking(folder)
    panics = "x" * 60
    with pytest.raises(TextError, match="text 1 cannot be tokenized: the model's tokenizer gives up on it"):
        model.extract(["the ab", panics, "c d"])
    found = model.extract(["the ab", panics, "c d", panics], unit="token", on_error="mark")
    assert found.units.filter((found.units["status"].to_numpy(False) == "error").tolist())["text_id"].to_pylist() == [
        1,
        3,
    ]
    ids = found.units["text_id"].to_numpy()
    for place, text in ((0, "the ab"), (2, "c d")):
        alone = model.extract([text], unit="token")
        assert all(np.array_equal(found.layer(k)[ids == place], alone.layer(k)) for k in found.layers)


def test_a_panic_while_a_tokenizer_is_read_is_an_error_of_its_file(folder: Path) -> None:
    broken = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[NO]", "type_id": 0}}],
        "pair": [],
        "special_tokens": {},
    }
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read as a tokenizer"):
        lamina.load(tokenizer_json(folder, post_processor=broken))


def test_special_tokens_that_the_vocabulary_lacks_are_refused(folder: Path) -> None:
    """A template may say any number; the model's table has no such row."""
    around = json.loads(samples.tokenizers()["wordpiece"])["post_processor"]
    around["special_tokens"]["[CLS]"]["ids"] = [4_000_000]
    with pytest.raises(CheckpointError, match="puts token 4,000,000 around texts, which its vocabulary lacks"):
        lamina.load(tokenizer_json(folder, post_processor=around))


def test_segments_that_the_model_lacks_are_refused(folder: Path) -> None:
    around = json.loads(samples.tokenizers()["wordpiece"])["post_processor"]
    around["pair"][3]["Sequence"]["type_id"] = 2
    model = lamina.load(tokenizer_json(folder, post_processor=around))
    assert len(model.extract(["a b"])) == 1
    with pytest.raises(TextError, match="is a pair with segment 2, and this model was made for segments 0 to 1"):
        model.extract([Text("a", pair="b")])


def test_a_template_that_reads_a_text_twice_stays_within_it(folder: Path) -> None:
    twice = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    around = {
        "type": "TemplateProcessing",
        "single": twice,
        "pair": [*twice, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {},
    }
    try:
        model = lamina.load(tokenizer_json(folder, post_processor=around))
        tokens = model.tokenizer.encode(["the ab cd"])
    except LaminaError:
        return
    assert (np.diff(tokens.starts) >= 0).all()
    assert tokens.ends.max() <= 9
