"""DAMON's schemes (DAMOS) as the mover."""
