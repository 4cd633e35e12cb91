"""What writes the log of decisions (`pghot.decision_log`) of a comparison, `compare --log`."""
