"""The live view: status documents in, a screen out. Only `screen` needs textual."""
