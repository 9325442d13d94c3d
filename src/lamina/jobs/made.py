"""What a dataset is made with: everything that decides its numbers, as its manifest records it."""

from __future__ import annotations

import hashlib
from importlib.metadata import version

from lamina.dataset.manifest import Made
from lamina.dataset.reader import Dataset
from lamina.errors import DatasetError
from lamina.extraction.extractor import Extractor

LIBRARIES = ("tokenizers", "icu4py", "numpy", "pyarrow")  # whose versions a dataset records beside the engine's own


def made_by(extractor: Extractor) -> Made:
    """What all datasets of one pass are made with; it reads the weights' files once, for their hash."""
    return Made(
        model=extractor.checkpoint.name,
        revision=extractor.checkpoint.revision,
        family=extractor.architecture.family,
        weights_sha256=extractor.checkpoint.weights_sha256(),
        tokenizer_sha256=extractor.tokenizer.sha256,
        engine=extractor.engine.name,
        precision=extractor.engine.precision,
        versions={name: version(name) for name in ("lamina", *extractor.engine.libraries, *LIBRARIES)},
        calibration_sha256=extractor.engine.calibration_sha256,
        config_sha256=hashlib.sha256(extractor.checkpoint.config_path.read_bytes()).hexdigest(),
    )


def check_model(extractor: Extractor, dataset: Dataset) -> None:
    """Raise DatasetError where a model's weights or tokenizer are not those that made a dataset."""
    made = dataset.manifest.made
    for what, here, there in (
        ("weights", extractor.checkpoint.weights_sha256(), made.weights_sha256),
        ("tokenizer", extractor.tokenizer.sha256, made.tokenizer_sha256),
    ):
        if here != there:
            raise DatasetError(
                f"the {what} of {extractor.checkpoint.name!r} are not those that made {dataset.folder} (sha256 "
                f"{here[:12]}…, the dataset's {there[:12]}…): another model's vectors cannot be compared with its own"
            )
