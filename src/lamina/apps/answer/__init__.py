"""The part of a passage that answers a question, and how such answers are judged."""

from lamina.apps.answer.spans import Answer, Sentences, best_span, head_answers

__all__ = ["Answer", "Sentences", "best_span", "head_answers"]
