"""Exact page accesses of an unmodified program, run under qemu user-mode emulation with a plugin of ours.

`record.record` is the entry point. No root and no hardware counters are needed, only `qemu-user` and a C
compiler; the price is that the program runs some ten to thirty times slower than natively.
"""
