"""`LayerEmbedder`: texts in, a layer's vectors out, as a scikit-learn transformer.

Clones share one model and what they have extracted, all layers at once, so a search over `layer` (or over anything that
comes after) runs the model once a text. That is held in memory, bounded, by the estimators themselves: it ends with
them, and it is not pickled.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.apps.mix import Mix
from lamina.embeddings import Embeddings, layer_column
from lamina.errors import CheckpointError, MissingExtraError, SpecError
from lamina.extraction.extractor import Extractor
from lamina.extraction.loading import load
from lamina.spec import Spec
from lamina.text.text import Text

try:
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError:
    raise MissingExtraError("lamina.sklearn needs scikit-learn: pip install 'lamina[apps]'") from None

Float32 = npt.NDArray[np.float32]
Item = str | Text

UNITS = ("text", "pair", "span")  # of which a text has one
SPEC = ("unit", "pool", "special", "long", "max_tokens", "stride", "overlap", "dims", "normalize", "prompt")
RUN = ("model", "revision", "engine", "device", "precision", "threads")


class LayerEmbedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Turns texts into the vectors of a layer, or of a mix of layers: float32 [N, D].

    model        a name, a folder or a hub id, as for `lamina.load`.
    layer        a layer's number, or the word of a mix: `mean:-4..-1`, `concat:3,5`, `0.2,0.8:3,4`.
    unit         `text`; `pair` (two columns, or `lamina.Text` with a pair); `span` (`lamina.Text` with one span).
    cache_bytes  how much the clones of one estimator may hold together of what they have extracted, the latest used; 0:
                 nothing. An estimator that was never cloned holds nothing, and runs only the layers that it needs.

    The other options are those of `Spec` and of `lamina.load`. X is an iterable of strings or `lamina.Text`, or a table
    with one column of them. A text without any token gives NaN. A pickle holds no weights: the model is loaded again by
    its name, and refused if it is another one.

    Attributes after `fit`: `layers_` the numbers that are mixed, `n_features_out_` D, `weights_sha256_` and
    `tokenizer_sha256_`.
    """

    def __init__(
        self,
        model: str = "minilm",
        *,
        layer: int | str = -1,
        unit: str = "text",
        pool: str = "mean",
        special: str = "include",
        long: str = "window",
        max_tokens: int | None = None,
        stride: int | None = None,
        overlap: str = "centre",
        dims: int | None = None,
        normalize: bool = False,
        prompt: str | None = None,
        revision: str | None = None,
        engine: str = "auto",
        device: str = "auto",
        precision: str = "float32",
        threads: int | None = None,
        batch_tokens: int | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self.model = model
        self.layer = layer
        self.unit = unit
        self.pool = pool
        self.special = special
        self.long = long
        self.max_tokens = max_tokens
        self.stride = stride
        self.overlap = overlap
        self.dims = dims
        self.normalize = normalize
        self.prompt = prompt
        self.revision = revision
        self.engine = engine
        self.device = device
        self.precision = precision
        self.threads = threads
        self.batch_tokens = batch_tokens
        self.cache_bytes = cache_bytes

    def fit(self, X: Any, y: object = None) -> LayerEmbedder:
        """Load the model and check the options against it; nothing is learnt from X. Raises what `lamina.load` raises,
        SpecError for options that contradict the model or a unit of which a text has several."""
        if self.unit not in UNITS:
            raise SpecError(f"unit must be one of {', '.join(UNITS)}, of which a text has one, not {self.unit!r}")
        _items(X, self.unit)
        extractor = self._shared().extractor(self._values(RUN))
        numbers = _numbers(self._mix(), self._spec("all"), extractor)
        view = extractor.plan({"": self._spec(_joined(numbers))}).views[""]
        self.layers_ = numbers
        self.n_features_out_ = view.width * (len(numbers) if self._mix().combine == "concat" else 1)
        self.weights_sha256_ = extractor.checkpoint.weights_sha256()
        self.tokenizer_sha256_ = extractor.tokenizer.sha256
        return self

    def transform(self, X: Any) -> Float32:
        """The vectors [N, D] of texts, row i of text i. Raises CheckpointError where the model of that name is no
        longer the one that was fitted, TextError for a text that cannot be read."""
        check_is_fitted(self, "weights_sha256_")
        items = _items(X, self.unit)
        shared = self._shared()
        with shared.lock:
            extractor = shared.extractor(self._values(RUN))
            shared.check(extractor, self.weights_sha256_, self.tokenizer_sha256_)
            result = np.empty((len(items), self.n_features_out_), np.float32)
            if not shared.has_clones or not self.cache_bytes:
                row = 0
                for part in _parts(extractor, items, self._spec(_joined(self.layers_)), self.batch_tokens):
                    result[row : row + len(part)] = self._numbered().vectors(part)
                    row += len(part)
                return result
            return self._from_cache(items, shared, extractor, result)

    def fit_transform(self, X: Any, y: object = None) -> Any:
        """`fit` and `transform`; of an iterator too, which gives its texts once."""
        held = list(X) if isinstance(X, Iterator) else X
        return self.fit(held, y).transform(held)

    def get_feature_names_out(self, input_features: object = None) -> npt.NDArray[np.object_]:
        """[D] a name for each number: `layer_4_0`, `mean:3,4_0`."""
        check_is_fitted(self, "n_features_out_")
        mix = self._numbered()
        name = layer_column(self.layers_[0]) if mix.combine == "none" else str(mix)
        return np.array([f"{name}_{k}" for k in range(self.n_features_out_)], object)

    def _from_cache(self, items: list[Item], shared: _Shared, extractor: Extractor, result: Float32) -> Float32:
        """The vectors of texts, of which those not held are extracted, at all layers, and held."""
        settings = (self._values(RUN), self._values(SPEC))
        places: dict[Item, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(item, []).append(place)
        missing = []
        for item, there in places.items():
            held = shared.states(settings, item)
            if held is None:
                missing.append(item)
            else:
                result[there] = self._mixed(held.states[:, None], held.layers)
        row = 0
        for part in _parts(extractor, missing, self._spec("all"), self.batch_tokens):
            states = np.stack([np.asarray(part.layer(number), np.float32) for number in part.layers])  # [L, U, D]
            vectors = self._mixed(states, part.layers)
            for k, item in enumerate(missing[row : row + len(part)]):
                result[places[item]] = vectors[k]
                shared.hold(settings, item, _States(part.layers, states[:, k].copy()), self.cache_bytes)
            row += len(part)
        return result

    def _mixed(self, states: Float32, layers: tuple[int, ...]) -> Float32:
        """[U, D'] of states [L, U, D]."""
        columns = {layer_column(number): states[k] for k, number in enumerate(layers)}
        return self._numbered().vectors(Embeddings(pa.table({"row": range(states.shape[1])}), columns, states.shape[1]))

    def _mix(self) -> Mix:
        return Mix.parse(self.layer)

    def _numbered(self) -> Mix:
        """The mix with the layers' own numbers, whatever is held."""
        return Mix(_joined(self.layers_), self._mix().combine)

    def _spec(self, layers: str) -> Spec:
        """Extracts these layers, each by itself."""
        return Spec.of(layers=layers, dtype="float32", **dict(zip(SPEC, self._values(SPEC), strict=True)))

    def _values(self, names: Sequence[str]) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in names)

    def _shared(self) -> _Shared:
        if not hasattr(self, "_held"):
            self._held = _Shared()
        return self._held

    def __sklearn_clone__(self) -> LayerEmbedder:
        """A clone as scikit-learn makes it, and a share in what is held."""
        new = type(self)(**{name: deepcopy(value) for name, value in self.get_params(deep=False).items()})
        for name in ("_sklearn_output_config", "_metadata_request"):  # what scikit-learn's own cloning keeps
            if name in self.__dict__:
                setattr(new, name, deepcopy(self.__dict__[name]))
        new._held = self._shared()
        new._held.has_clones = True
        return new

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_held", None)
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = False
        tags.transformer_tags.preserves_dtype = []  # float32, whatever comes
        return tags


@dataclass(frozen=True, slots=True, eq=False)
class _States:
    """A text's states [L, D] at the layers held."""

    layers: tuple[int, ...]
    states: Float32


@dataclass(slots=True)
class _Shared:
    """What an estimator and its clones hold together: models by how they are loaded, and texts' states, the latest
    used.

    One thread at a time extracts; another that wants the same texts then finds them held.
    """

    has_clones: bool = False
    lock: Any = field(default_factory=RLock)
    extractors: dict[tuple[Any, ...], Extractor] = field(default_factory=dict)
    hashes: dict[int, tuple[str, str]] = field(default_factory=dict)
    texts: OrderedDict[Any, _States] = field(default_factory=OrderedDict)
    n_bytes: int = 0

    def extractor(self, run: tuple[Any, ...]) -> Extractor:
        """The model, loaded once."""
        with self.lock:
            if run not in self.extractors:
                options = dict(zip(RUN, run, strict=True))
                self.extractors[run] = load(options.pop("model"), **options)
            return self.extractors[run]

    def check(self, extractor: Extractor, weights_sha256: str, tokenizer_sha256: str) -> None:
        """Raises CheckpointError where the model is not the one with these hashes; reads its files once."""
        if id(extractor) not in self.hashes:
            self.hashes[id(extractor)] = extractor.checkpoint.weights_sha256(), extractor.tokenizer.sha256
        found = self.hashes[id(extractor)]
        for what, mine, theirs in zip(("weights", "tokenizer"), (weights_sha256, tokenizer_sha256), found, strict=True):
            if mine != theirs:
                raise CheckpointError(
                    f"{extractor.checkpoint.name} is not the model that was fitted: its {what} differ (sha256 "
                    f"{mine[:12]}…, here {theirs[:12]}…); fit again"
                )

    def states(self, settings: tuple[Any, ...], item: Item) -> _States | None:
        """What is held of a text."""
        key = (settings, item)
        if key in self.texts:
            self.texts.move_to_end(key)
        return self.texts.get(key)

    def hold(self, settings: tuple[Any, ...], item: Item, states: _States, limit: int) -> None:
        """Hold a text's states, and let go of those used longest ago."""
        self.texts[settings, item] = states
        self.n_bytes += states.states.nbytes
        while self.n_bytes > limit and self.texts:
            _, gone = self.texts.popitem(last=False)
            self.n_bytes -= gone.states.nbytes


def _parts(extractor: Extractor, items: list[Item], spec: Spec, batch_tokens: int | None) -> Iterator[Embeddings]:
    """The embeddings of texts, a row each."""
    from lamina.text.source import rows_of

    if not items:
        return
    n_rows = 0
    for part in extractor.stream_rows(rows_of(items), {"": spec}, batch_tokens=batch_tokens):
        n_rows += len(part[""])
        if len(part[""]) != part[""].n_texts:
            raise SpecError(f"a text has one {spec.unit} here, not {len(part[''])} for {part[''].n_texts} texts")
        yield part[""]
    assert n_rows == len(items)


def _numbers(mix: Mix, spec: Spec, extractor: Extractor) -> tuple[int, ...]:
    """The layers of a mix, as the model counts them."""
    return mix.numbers(extractor.plan({"": spec}).views[""].layers)


def _joined(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _items(X: Any, unit: str) -> list[Item]:
    """X as a list of texts. Raises SpecError for what is none."""
    if isinstance(X, str | bytes | Text) or not isinstance(X, Iterable):
        raise SpecError(f"X must be an iterable of texts, not {type(X).__name__}: put a text in a list")
    values = np.asarray(X, object) if hasattr(X, "shape") else None
    rows: list[Any] = list(X) if values is None else values.tolist()
    if values is not None and values.ndim == 2:
        n_columns = 2 if unit == "pair" else 1
        if values.shape[1] != n_columns:
            raise SpecError(
                f"X has {values.shape[1]} columns; unit {unit!r} needs {n_columns}: choose with a ColumnTransformer"
            )
        rows = [row[0] if n_columns == 1 else _pair(row, place) for place, row in enumerate(rows)]
    for place, row in enumerate(rows):
        if not isinstance(row, str | Text):
            raise SpecError(f"row {place} of X is {row!r}, a {type(row).__name__}, not a text")
    return rows


def _pair(row: Sequence[Any], place: int) -> Text:
    for value in row:
        if not isinstance(value, str):
            raise SpecError(f"row {place} of X holds {value!r}, a {type(value).__name__}, not a text")
    return Text(row[0], pair=row[1])
