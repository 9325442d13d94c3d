"""Smaller models: a checkpoint read, cut down, and written as a checkpoint again, with what that cost."""
