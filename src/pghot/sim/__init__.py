"""The simulated machine of the lab: memory, time, sources and policies."""
