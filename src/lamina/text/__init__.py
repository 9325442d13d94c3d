"""The text side: which tokens a text has, and which of them make a unit. Integers only, never a float."""
