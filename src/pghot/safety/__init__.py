"""How much of a compressed device must stay free, and who tries to break that."""
