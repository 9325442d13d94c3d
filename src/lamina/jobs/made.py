"""What a dataset is made with: everything that decides its numbers, as its manifest records it."""

from __future__ import annotations

import hashlib
from importlib.metadata import version

from lamina.dataset.manifest import Made
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
