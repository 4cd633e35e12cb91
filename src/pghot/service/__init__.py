"""The live side: the loop that watches programs, the movers, the journal and undo, the daemon."""
