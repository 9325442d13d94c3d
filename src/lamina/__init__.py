"""Lamina: every layer of BERT, as data."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.dataset.reader import Dataset as Dataset
    from lamina.dataset.reader import open_dataset
    from lamina.embeddings import Embeddings as Embeddings
    from lamina.errors import LaminaError as LaminaError
    from lamina.extraction.extractor import Extractor as Extractor
    from lamina.extraction.loading import load as load
    from lamina.jobs.estimate import plan as plan
    from lamina.jobs.local import extract as extract
    from lamina.jobs.local import extract_views as extract_views
    from lamina.spec import Spec as Spec
    from lamina.text.source import Source as Source
    from lamina.text.text import Text as Text

    open = open_dataset

__version__ = "0.1.0"

# OpenVINO's wheel brings a package that reports every `import openvino` to Google Analytics from a child process, and
# writes an id into the home folder, unasked (openvino-telemetry 2025.2). In this process it cannot be imported, and
# OpenVINO then uses its own stub, unless somebody else imported it before.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# Public names and where they live. They are imported when first used, so that `import lamina` stays light.
_PUBLIC = {
    "load": "lamina.extraction.loading",
    "extract": "lamina.jobs.local",
    "extract_views": "lamina.jobs.local",
    "plan": "lamina.jobs.estimate",
    "open": "lamina.dataset.reader",
    "Dataset": "lamina.dataset.reader",
    "Extractor": "lamina.extraction.extractor",
    "Embeddings": "lamina.embeddings",
    "Spec": "lamina.spec",
    "Source": "lamina.text.source",
    "Text": "lamina.text.text",
    "LaminaError": "lamina.errors",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), "open_dataset" if name == "open" else name)


def __dir__() -> list[str]:
    return sorted(__all__)
