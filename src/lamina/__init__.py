"""Lamina: every layer of BERT, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.embeddings import Embeddings as Embeddings
    from lamina.extract.extractor import Extractor as Extractor
    from lamina.extract.extractor import load as load
    from lamina.spec import Spec as Spec

__version__ = "0.1.0"

# Public names and where they live. They are imported when first used, so that `import lamina` stays light.
_PUBLIC = {
    "load": "lamina.extract.extractor",
    "Extractor": "lamina.extract.extractor",
    "Embeddings": "lamina.embeddings",
    "Spec": "lamina.spec",
    "LaminaError": "lamina.errors",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
