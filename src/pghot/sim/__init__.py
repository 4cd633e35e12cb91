"""The machine that exists only in the lab: memory, time, sources and policies, simulated."""
