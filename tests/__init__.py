"""Lamina's tests; they mirror its rooms."""
