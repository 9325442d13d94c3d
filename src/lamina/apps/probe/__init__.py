"""Which layer, which pool, for this label?"""

from lamina.apps.probe.asking import ask
from lamina.apps.probe.run import answer, probe
from lamina.apps.probe.verdict import Answer

__all__ = ["Answer", "answer", "ask", "probe"]
