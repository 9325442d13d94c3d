"""Engines compute an encoder's layers on batches of tokens and reduce them where they are born."""
