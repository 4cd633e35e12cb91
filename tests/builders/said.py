"""What a command said on stderr, but for what it says only on a busy machine: its progress."""

from __future__ import annotations


def said(stderr: str) -> list[str]:
    """Its lines without those about progress, which come when work takes over two seconds."""
    return [line for line in stderr.splitlines() if not line.startswith(("replaying ", "compiling "))]
