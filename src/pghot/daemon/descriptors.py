"""Descriptors of the daemon: as many as it may have, and some of them never for strangers."""

from __future__ import annotations

import resource

MOST = 1 << 16  # more would be of no use
KEPT_BACK = 128  # for files of the kernel, perf events, the journal, a reload; a quarter where there are few


def raise_limit() -> None:
    """As many as this process may give itself. The 1024 of most systems is for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def kept_back(fd: int) -> bool:
    """Whether a descriptor that was just opened is one of the last. The kernel hands out the lowest free number, so
    that those below are all in use."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and fd >= soft - min(KEPT_BACK, soft // 4)
