"""One word in several sentences, followed through the layers."""

from lamina.apps.trace.uses import Trace, average, trace

__all__ = ["Trace", "average", "trace"]
