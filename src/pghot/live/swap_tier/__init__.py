"""Compressed swap (zram, zswap) as the last tier of a live machine."""
