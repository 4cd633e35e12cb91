"""The log of decisions (`compare --log`): for each page what it did, who saw it, what was decided, where it went."""
