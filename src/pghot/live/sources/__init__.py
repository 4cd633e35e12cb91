"""The live sources: who saw which program access which page."""
