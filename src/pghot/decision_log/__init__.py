"""The log of decisions, for both halves: for each page who saw it, what was decided and why, where it went."""
