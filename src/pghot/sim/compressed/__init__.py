"""A compressed memory device, simulated: what it stores, and what a write to it does."""
