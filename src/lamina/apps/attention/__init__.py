"""What attention heads do: in figures, as charts, as a page."""

from lamina.apps.attention.figures import HeadFigures, head_figures
from lamina.apps.attention.page import attention_page

__all__ = ["HeadFigures", "attention_page", "head_figures"]
