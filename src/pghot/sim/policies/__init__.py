"""Policies that run in the lab only: bounds, placements, oracles, and systems that need what only a simulation has."""
