"""Reclaim of a node that heeds what tenants are sure of, in plain Python."""

from __future__ import annotations

from collections.abc import Sequence


def reclaimed(
    oldest_first: Sequence[int], tenant: Sequence[int], sure: Sequence[float], pages: int
) -> set[int]:
    """The pages that go: one after the other the oldest of whoever has more than is sure. If nobody has, the oldest."""
    used = [sum(tenant[page] == number for page in oldest_first) for number in range(len(sure))]
    gone: set[int] = set()
    for page in oldest_first:
        if len(gone) < pages and used[tenant[page]] > sure[tenant[page]]:
            gone.add(page)
            used[tenant[page]] -= 1
    return gone or set(oldest_first[:pages])
