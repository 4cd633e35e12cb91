"""What writes the log of decisions (`pghot.decision_log`) of a live run, `run --log`."""
