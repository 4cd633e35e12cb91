"""The machine that we run on, as the policies see it."""
