"""Transforms do what their papers say, blockwise as at once, and come back from the disk to the bit or not at all."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from lamina.dataset import transform as transform_module
from lamina.dataset.export import export
from lamina.dataset.reader import Dataset, open_dataset
from lamina.dataset.transform import Options, Transform, fit_columns
from lamina.embeddings import Embeddings, Vectors, layer_column
from lamina.errors import DatasetError, SpecError
from tests.dataset.making import LAYERS, embeddings, files_in, manifest, units_of, write

WIDTH = 12
COLUMNS = [layer_column(layer) for layer in LAYERS]
ALL_OPTIONS = [
    {"centre": centre, "whiten": whiten, "remove": remove, "dims": dims}
    for centre in (True, False)
    for whiten in (True, False)
    for remove in (0, 2)
    for dims in (None, 5)
]


def vectors(n: int = 200, *, width: int = WIDTH, offset: float = 3.0, seed: int = 0) -> Vectors:
    """Correlated vectors, each principal direction half as wide as the one before it."""
    rng = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(rng.normal(size=(width, width)))
    return ((rng.normal(size=(n, width)) * 2.0 ** -np.arange(width)) @ turned + offset).astype(np.float32)


def dataset_of(folder: Path, matrices: Sequence[Vectors], *, dtype: str = "float32", n_shards: int = 1) -> Dataset:
    """A dataset with the matrices as its layers."""
    parts, first = [], 0
    for piece in np.array_split(np.arange(len(matrices[0])), n_shards):
        columns = {name: matrix[piece] for name, matrix in zip(COLUMNS, matrices, strict=True)}
        parts.append(Embeddings(units_of(["text"] * len(piece), first=first), columns, len(piece)))
        first += len(piece)
    return write(folder, parts, described=manifest(dtype=dtype, width=matrices[0].shape[1]), shard_a_part=True)


def by_the_book(
    matrix: Vectors, *, centre: bool, whiten: bool, remove: int, dims: int | None
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The slow twin: a singular value decomposition of the whole matrix, then one step after the other."""
    x = matrix.astype(np.float64)
    mean = x.mean(axis=0)
    _, singular, rows = np.linalg.svd(x - mean, full_matrices=False)
    for direction in rows:
        if direction[np.abs(direction).argmax()] < 0:
            direction *= -1
    if centre:
        x = x - mean
    for direction in rows[:remove]:
        x = x - np.outer(x @ direction, direction)
    if whiten:
        x = np.stack([x @ d / (s / np.sqrt(len(x) - 1)) for d, s in zip(rows, singular, strict=True)][remove:], axis=1)
    elif remove and dims:
        x = np.stack([x @ direction for direction in rows[remove:]], axis=1)
    return x[:, :dims]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("options", ALL_OPTIONS, ids=str)
def test_it_agrees_with_the_book(options: dict[str, object], dtype: str) -> None:
    x = vectors(width=8).astype(dtype)
    found = Transform.fit(x, **options).apply(x)
    expected = by_the_book(x, **options)
    assert (found.dtype, found.shape) == (np.float32, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("remove", "dims"), [(0, None), (0, 4), (3, None), (3, 4)])
def test_whitened_vectors_have_unit_covariance(remove: int, dims: int | None) -> None:
    x = vectors()
    white = Transform.fit(x, whiten=True, remove=remove, dims=dims).apply(x).astype(np.float64)
    np.testing.assert_allclose(np.cov(white.T), np.eye(dims or WIDTH - remove), atol=1e-4)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)


def test_the_removed_direction_is_gone_and_the_others_stay() -> None:
    rng = np.random.default_rng(1)
    direction = np.array([3, 0, 4, 0, 0, 0]) / 5
    others = rng.normal(size=(500, 6))
    others -= np.outer(others @ direction, direction)
    x = (others + np.outer(rng.normal(size=500) * 50, direction)).astype(np.float32)
    found = Transform.fit(x, remove=1).apply(x).astype(np.float64)
    assert np.abs(found @ direction).max() < 0.01 * np.abs(x @ direction).max()
    np.testing.assert_allclose(found, others - others.mean(axis=0), atol=0.2)


def test_dims_alone_keeps_the_first_numbers_as_they_are() -> None:
    x = vectors().astype(np.float16)
    np.testing.assert_array_equal(Transform.fit(x, centre=False, dims=5).apply(x), x[:, :5].astype(np.float32))


def test_after_removal_dims_keeps_the_strongest_directions_that_are_left() -> None:
    x = vectors()
    found = Transform.fit(x, remove=2, dims=3).apply(x).astype(np.float64)
    variances = np.sort(np.linalg.eigvalsh(np.cov(x.astype(np.float64).T)))[::-1]
    np.testing.assert_allclose(np.cov(found.T), np.diag(variances[2:5]), atol=1e-4 * variances[2])


@pytest.mark.parametrize("options", [*ALL_OPTIONS, {"normalize": True}], ids=str)
def test_rows_of_nan_are_left_out_and_stay(options: dict[str, object]) -> None:
    x = vectors(60, width=8)
    gaps = [0, 3, 4, 62]
    with_gaps = np.insert(x, [0, 2, 2, 59], np.nan, axis=0)
    assert np.flatnonzero(np.isnan(with_gaps).all(axis=1)).tolist() == gaps
    fitted = Transform.fit(with_gaps, **options)
    assert fitted.n_rows == 60
    found = fitted.apply(with_gaps)
    assert np.isnan(found[gaps]).all()
    expected = Transform.fit(x, **options).apply(x)
    np.testing.assert_allclose(np.delete(found, gaps, axis=0), expected, rtol=1e-5, atol=1e-6)


def test_normalize_comes_last_and_leaves_zeros() -> None:
    x = np.array([[1, 2, 3], [3, 2, 1], [2, 2, 2], [np.nan] * 3], np.float32)  # the third is the mean
    found = Transform.fit(x, normalize=True).apply(x)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 0, np.nan], rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("cuts", [[], [1], [50, 51, 52], [10, 10, 199], list(range(1, 200))])
def test_blocks_give_what_the_whole_gives(cuts: list[int], offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x = vectors(width=6, offset=offset).astype(np.float64)
    whole = by_the_book(x, centre=True, whiten=True, remove=1, dims=None)
    options = Options(whiten=True, remove=1)
    monkeypatch.setattr(transform_module, "BLOCK_ROWS", 33)  # the blocks themselves are cut, too
    fitted = fit_columns({"x": np.split(x, cuts)}, options, width=6)["x"]
    np.testing.assert_allclose(fitted.apply(x), whole, atol=2e-4 if offset == 0 else 0.05)  # a float32 mean of 1e4


def test_the_sign_is_the_same_whichever_way_the_data_lie() -> None:
    x = vectors(offset=0.0)
    first, turned = (Transform.fit(y, whiten=True).basis for y in (x, -x))
    assert first is not None
    assert turned is not None
    np.testing.assert_array_equal(first, turned)
    assert (first[np.abs(first).argmax(axis=0), np.arange(WIDTH)] > 0).all()


def test_memory_does_not_grow_with_the_rows() -> None:
    def blocks(n: int) -> Iterator[Vectors]:
        for seed in range(n):
            yield np.random.default_rng(seed).normal(size=(500, 16)).astype(np.float32)

    peaks = []
    for n in (3, 60):
        tracemalloc.start()
        fit_columns({"x": blocks(n)}, Options(whiten=True), width=16)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"dims": WIDTH + 1}, SpecError, "dims is 13, but the vectors have 12 numbers"),
        ({"dims": 9, "remove": 4}, SpecError, "dims is 9.* 12 numbers, of which 4 directions are removed"),
        ({"remove": WIDTH}, SpecError, "remove is 12, but the vectors have 12 numbers"),
        ({"remove": -1}, SpecError, "remove must be a whole number of at least 0, not -1"),
        ({"dims": 0}, SpecError, "dims must be a whole number of at least 1, not 0"),
        ({"remove": 1.5}, SpecError, "remove must be a whole number"),
        ({"remove": True}, SpecError, "remove must be a whole number"),
        ({"whiten": "yes"}, SpecError, "whiten must be True or False, not 'yes'"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Transform.fit(vectors(), **options)


@pytest.mark.parametrize(("n", "options"), [(0, {}), (1, {"whiten": True}), (1, {"remove": 1})])
def test_too_few_rows_are_refused(n: int, options: dict[str, object]) -> None:
    x = np.concatenate([vectors(n), np.full((5, WIDTH), np.nan, np.float32)])
    with pytest.raises(DatasetError, match=f"has {n} rows with a vector"):
        Transform.fit(x, **options)


def test_infinite_values_are_refused() -> None:
    x = vectors()
    x[7, 3] = np.inf
    with pytest.raises(DatasetError, match="infinite"):
        Transform.fit(x)


def test_vectors_of_another_width_are_refused() -> None:
    with pytest.raises(SpecError, match=r"\[U, 12\], not \[4, 11\]"):
        Transform.fit(vectors()).apply(vectors(4, width=11))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_direction_that_only_rounding_fills_is_no_direction(dtype: str) -> None:
    x = np.random.default_rng(2).normal(size=(400, 20))
    normed = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)  # a layer norm: the sum is 0
    normed *= 1 + np.arange(20) / 10
    with pytest.raises(SpecError, match=r"20 directions are needed.* vectors 19"):
        Transform.fit(normed.astype(dtype), whiten=True)
    assert Transform.fit(normed.astype(dtype), whiten=True, dims=19).width == 19


def test_the_advice_where_directions_are_missing_names_every_column_and_works(tmp_path: Path) -> None:
    flat, full, short = vectors(seed=1), vectors(seed=2), vectors(seed=3)
    flat[:, 4] = flat[:, 5]
    short[:, 2:6] = 1
    dataset = dataset_of(tmp_path / "d", [flat, full, short])
    with pytest.raises(SpecError, match=r"layer_0 11, layer_5 8\..* Ask for dims=6 or fewer"):
        dataset.fit_transform("white", whiten=True, remove=2)
    assert dataset.transforms == ()
    dataset.fit_transform("white", whiten=True, remove=2, dims=6)
    with pytest.raises(SpecError, match="emove fewer than 9"):
        dataset.fit_transform("less", remove=9)


# On a dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three shards, three layers."""
    return dataset_of(tmp_path / "d", [vectors(seed=seed) for seed in range(3)], dtype="float16", n_shards=3)


def _stored(dataset: Dataset, name: str) -> Path:
    return dataset.folder / "transforms" / f"{name}.safetensors"


@pytest.mark.parametrize("options", [{}, {"whiten": True, "dims": 6}, {"remove": 2, "normalize": True}, {"dims": 3}])
def test_a_stored_transform_comes_back_to_the_bit(dataset: Dataset, options: dict[str, object]) -> None:
    fitted = dataset.fit_transform("mine", **options)
    assert list(fitted) == COLUMNS
    again = open_dataset(dataset.folder)
    assert again.transforms == ("mine",)
    for layer, column in zip(LAYERS, COLUMNS, strict=True):
        read = again.transform("mine", column)
        assert (read.options, read.n_rows) == (Options(**options), 200)
        assert read.mean.tobytes() == fitted[column].mean.tobytes()
        expected = fitted[column].apply(dataset.layer(layer))
        np.testing.assert_array_equal(again.layer(layer, transform="mine"), expected)
        np.testing.assert_array_equal(again.vectors(column, transform="mine"), expected)
        assert again.layer(layer, transform="mine").dtype == np.float32


def test_without_a_transform_vectors_are_as_stored(dataset: Dataset) -> None:
    dataset.fit_transform("mine")
    for layer, column in zip(LAYERS, COLUMNS, strict=True):
        assert dataset.vectors(column).dtype == np.float16
        np.testing.assert_array_equal(dataset.vectors(column), vectors(seed=LAYERS.index(layer)).astype(np.float16))


def test_shards_are_fitted_as_one(dataset: Dataset) -> None:
    fitted = dataset.fit_transform("white", whiten=True, dims=6)
    for column in COLUMNS:
        whole = Transform.fit(dataset.vectors(column), whiten=True, dims=6)
        np.testing.assert_allclose(fitted[column].mean, whole.mean, rtol=1e-6)
        np.testing.assert_allclose(fitted[column].basis, whole.basis, rtol=1e-4, atol=1e-5)


def test_the_same_fit_writes_the_same_bytes(dataset: Dataset) -> None:
    for name in ("one", "two"):
        dataset.fit_transform(name, whiten=True, dims=6)
    assert _stored(dataset, "one").read_bytes() == _stored(dataset, "two").read_bytes()
    assert dataset.transforms == ("one", "two")


def test_combined_layers_are_transformed(tmp_path: Path) -> None:
    made = write(tmp_path / "d", [embeddings(40, names=["combined"])], described=manifest(combine="mean"))
    made.fit_transform("mine", remove=1)
    found = made.vectors("combined", transform="mine")
    np.testing.assert_array_equal(found, made.transform("mine", "combined").apply(made.combined))
    assert np.flatnonzero(np.isnan(found).all(axis=1)).tolist() == [1]


def test_an_export_is_transformed(dataset: Dataset, tmp_path: Path) -> None:
    dataset.fit_transform("mine", dims=4)
    assert export(dataset, tmp_path / "x.npy", layer=2, transform="mine") == (200, 4)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), dataset.layer(2, transform="mine"))


def test_the_shards_and_the_manifest_are_untouched(dataset: Dataset) -> None:
    before = files_in(dataset.folder)
    dataset.fit_transform("mine", whiten=True, dims=6)
    after = files_in(dataset.folder)
    assert after.pop("transforms/mine.safetensors")
    assert after == before


def test_a_transform_fitted_on_other_data_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    other = dataset_of(tmp_path / "other", [vectors(seed=seed) for seed in (7, 8, 9)])
    other.fit_transform("theirs")
    (dataset.folder / "transforms").mkdir()
    shutil.copy(_stored(other, "theirs"), _stored(dataset, "theirs"))
    for layer in LAYERS:
        with pytest.raises(DatasetError, match=r"theirs\.safetensors was fitted on other data.* fit it again"):
            dataset.layer(layer, transform="theirs")
    dataset.fit_transform("theirs", overwrite=True)
    assert dataset.layer(2, transform="theirs").shape == (200, WIDTH)


def test_flipped_bytes_give_an_error_that_names_the_file_or_the_same_numbers(dataset: Dataset) -> None:
    dataset.fit_transform("mine", whiten=True, dims=3)
    expected = dataset.layer(2, transform="mine")
    path = _stored(dataset, "mine")
    content, refusals = path.read_bytes(), []
    n_header = 8 + int.from_bytes(content[:8], "little")
    for place in [*range(0, n_header, 11), *range(n_header, len(content), 5)]:
        damaged = bytearray(content)
        damaged[place] ^= 0x01
        path.write_bytes(damaged)
        try:
            found = dataset.layer(2, transform="mine")
        except DatasetError as error:
            refusals.append(str(error))
            continue
        np.testing.assert_array_equal(found, expected)
    assert len(refusals) > 50
    assert all(str(path) in refusal for refusal in refusals)


@pytest.mark.parametrize("kept", [0, 5, 0.5, -1])
def test_a_file_cut_short_is_refused(dataset: Dataset, kept: float) -> None:
    dataset.fit_transform("mine")
    content = _stored(dataset, "mine").read_bytes()
    _stored(dataset, "mine").write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(DatasetError, match=r"mine\.safetensors is damaged"):
        dataset.layer(0, transform="mine")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_version": 2}, "format version 2, of which this Lamina knows nothing"),
        ({"format": "other"}, "no transform of Lamina but 'other'"),
        ({"options": {"whiten": True}}, "not those that were written"),
        ({"options": {"sharpen": True}}, "damaged"),
        ({"columns": {}}, "damaged"),
        ({"columns": [1]}, "damaged"),
        ({"fitted_on": None}, "damaged"),
    ],
)
def test_metadata_that_say_something_else_are_refused(dataset: Dataset, change: dict[str, object], says: str) -> None:
    dataset.fit_transform("mine", dims=4)
    path = _stored(dataset, "mine")
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["lamina"])
    save_file(load_file(path), path, {"lamina": json.dumps(about | change)})
    with pytest.raises(DatasetError, match=says):
        dataset.layer(0, transform="mine")


def test_a_basis_of_another_width_is_no_transform() -> None:
    for basis, dims in ((np.ones((4, 2), np.float32), None), (np.ones((3, 0), np.float32), None), (None, 4)):
        with pytest.raises(ValueError, match="a mean of 3, a basis from"):
            Transform(Options(dims=dims), 5, np.zeros(3, np.float32), basis)


def test_somebody_elses_safetensors_is_refused(dataset: Dataset) -> None:
    (dataset.folder / "transforms").mkdir()
    save_file({"layer_0.mean": np.zeros(WIDTH, np.float32)}, _stored(dataset, "mine"))
    with pytest.raises(DatasetError, match="damaged"):
        dataset.layer(0, transform="mine")


@pytest.mark.parametrize("name", ["", "a b", "../up", "a/b", "Big", "ä", "a" * 65, "a.b", "a\n"])
def test_a_name_that_cannot_be_one_is_refused_before_anything_is_read(dataset: Dataset, name: str) -> None:
    shutil.rmtree(dataset.folder / "shards")
    for use in (lambda: dataset.fit_transform(name), lambda: dataset.transform(name, "layer_0")):
        with pytest.raises(SpecError, match="1 to 64 of the characters a-z, 0-9 and -"):
            use()


def test_a_name_that_is_taken_needs_overwrite(dataset: Dataset) -> None:
    dataset.fit_transform("mine", dims=2)
    before = files_in(dataset.folder)
    with pytest.raises(DatasetError, match="has a transform 'mine' already"):
        dataset.fit_transform("mine", dims=3)
    assert files_in(dataset.folder) == before
    dataset.fit_transform("mine", dims=3, overwrite=True)
    assert dataset.layer(0, transform="mine").shape == (200, 3)


def test_what_is_not_held_is_named(dataset: Dataset) -> None:
    with pytest.raises(SpecError, match="no transform 'mine'; it has none"):
        dataset.layer(0, transform="mine")
    dataset.fit_transform("other")
    with pytest.raises(SpecError, match="no transform 'mine'; it has other"):
        dataset.layer(0, transform="mine")
    for transform in (None, "other"):
        with pytest.raises(SpecError, match=r"'layer_1' is not in .* layer_0, layer_2, layer_5"):
            dataset.vectors("layer_1", transform=transform)
        with pytest.raises(SpecError, match="layer 1 is not in"):
            dataset.layer(1, transform=transform)


def test_a_folder_that_cannot_be_written_is_named(dataset: Dataset) -> None:
    (dataset.folder / "transforms").write_text("in the way")
    with pytest.raises(DatasetError, match=r"mine\.safetensors cannot be written"):
        dataset.fit_transform("mine")
