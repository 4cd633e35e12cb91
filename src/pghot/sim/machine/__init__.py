"""The simulated machine: placement, time, migration, reclaim."""
