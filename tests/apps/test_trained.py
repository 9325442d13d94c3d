"""Proves that a trained thing's folder is whole or not there, says what is wrong with it, and knows its encoder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lamina.apps.trained import FILE, Encoder, Place, Trained, check_free, place_of, read_trained, tensor, write_trained
from lamina.embeddings import Embeddings
from lamina.errors import CheckpointError, SpecError, TrainedError
from lamina.spec import Spec
from tests.apps.test_mix import LAYERS, UNITS

ENCODER = Encoder("minilm", None, "bert", "a" * 64, "b" * 64, "float32")
PLACE = Place(ENCODER, Spec(layers="3,4", pool="first", unit="word"), "mean:3,4")
THING = Trained("tag", PLACE, ("O", "B-Ä\n"), {"l2": 0.1}, {"x": np.arange(6.0).reshape(2, 3)})


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    write_trained(tmp_path / "new" / "thing", THING)
    found = read_trained(tmp_path / "new" / "thing", app="tag")
    assert (found.place, found.labels, found.about) == (THING.place, THING.labels, THING.about)
    np.testing.assert_array_equal(found.tensors["x"], THING.tensors["x"])
    assert sorted(path.suffix for path in (tmp_path / "new" / "thing").iterdir()) == [".json", ".safetensors"]


def test_another_is_not_replaced_unless_asked_for_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_trained(tmp_path, THING)
    with pytest.raises(TrainedError, match="holds something trained already"):
        write_trained(tmp_path, THING)
    write_trained(tmp_path, replace(THING, tensors={"x": np.zeros((1, 1))}), overwrite=True)
    assert read_trained(tmp_path, app="tag").tensors["x"].shape == (1, 1)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(TrainedError, match="holds other files"):
        check_free(tmp_path, overwrite=True)
    with pytest.raises(TrainedError, match="is a file"):
        check_free(tmp_path / "notes.txt", overwrite=True)
    check_free(tmp_path / "new", overwrite=False)


def test_interrupted_at_any_write_the_old_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trained(tmp_path, THING)
    replaced, n = os.replace, [0]
    for stop in (1, 2):
        n[0] = 0

        def dying(old: str, new: str, stop: int = stop) -> None:
            n[0] += 1
            if n[0] == stop:
                raise KeyboardInterrupt
            replaced(old, new)

        monkeypatch.setattr("lamina.dataset.durable.os.replace", dying)
        with pytest.raises(KeyboardInterrupt):
            write_trained(tmp_path, replace(THING, about={}, tensors={"x": np.ones(stop)}), overwrite=True)
        assert read_trained(tmp_path, app="tag").tensors["x"].shape == (2, 3)
    monkeypatch.setattr("lamina.dataset.durable.os.replace", replaced)
    write_trained(tmp_path, THING, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 2


def _change(**values: object) -> Callable[[Path], None]:
    """Puts other values into the JSON, and its right checksum."""

    def change(folder: Path) -> None:
        from lamina.dataset.sealed import checksum

        found = {**json.loads((folder / FILE).read_text()), **values}
        del found["checksum"]
        (folder / FILE).write_text(json.dumps({**found, "checksum": checksum(found)}))

    return change


def _flip(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / FILE).unlink(), "holds nothing trained: `lamina tag train -o"),
        (lambda folder: (folder / FILE).write_text("{"), "cannot be read"),
        (lambda folder: (folder / FILE).write_text("[1]"), "nothing that Lamina has trained"),
        (lambda folder: (folder / FILE).write_text((folder / FILE).read_text().replace("0.1", "0.2")), "checksum"),
        (lambda folder: next(folder.glob("*.safetensors")).unlink(), "is missing"),
        (_flip, "does not hold what was written"),
        (_change(format_version=2), "format version 2, of which this Lamina knows nothing"),
        (_change(app="classify"), "was made by `lamina classify`, not by `lamina tag`"),
        (_change(tensors={"file": "../x.safetensors", "sha256": ""}), "is no name of its tensors"),
        (_change(spec="layers=4 nonsense"), "nonsense"),
        (_change(encoder={"model": "x"}), "damaged"),
        (_change(labels=None), "damaged"),
    ],
)
def test_damage_is_said(tmp_path: Path, damage: Callable[[Path], None], reason: str) -> None:
    write_trained(tmp_path, THING)
    damage(tmp_path)
    with pytest.raises(TrainedError, match=reason):
        read_trained(tmp_path, app="tag")


def test_a_tensor_of_another_shape_is_refused() -> None:
    assert tensor(THING, "x", None, 3).shape == (2, 3)
    for shape in ((3, None), (None,)):
        with pytest.raises(TrainedError, match="'x'"):
            tensor(THING, "x", *shape)
    with pytest.raises(TrainedError, match="no tensor 'y'"):
        tensor(THING, "y", None)
    with pytest.raises(TrainedError, match="not finite"):
        tensor(replace(THING, tensors={"x": np.array([np.nan])}), "x", 1)


@pytest.mark.parametrize("name", ["weights_sha256", "tokenizer_sha256", "recipe_sha256"])
def test_another_encoder_is_refused(name: str) -> None:
    ENCODER.check(replace(ENCODER, model="elsewhere", precision="bfloat16"))
    with pytest.raises(CheckpointError, match="trained on minilm and cannot be used with other"):
        ENCODER.check(replace(ENCODER, model="other", **{name: "c" * 64}))


def test_layers_get_their_own_numbers() -> None:
    data = Embeddings(UNITS, LAYERS, n_texts=3)
    place = place_of(data, "concat:-2..-1", unit="word")
    assert (place.encoder, place.layer, place.spec.layers, place.spec.unit) == (None, "concat:3,4", "3,4", "word")
    combined = Embeddings(UNITS, {"combined": LAYERS["layer_2"]}, n_texts=3)
    assert place_of(combined).layer == "combined"
    with pytest.raises(SpecError, match="layer 9"):
        place_of(data, 9)
