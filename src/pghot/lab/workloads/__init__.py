"""Synthetic workloads: programs whose accesses are a formula, as traces."""
