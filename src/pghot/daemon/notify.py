"""sd_notify(3): telling systemd that the service is ready, reloads, stops, is alive."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(*lines: str) -> None:
    """Send lines such as "READY=1" to the service manager, if there is one.

    Never waits: a stalled manager must not stall the loop.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, address)
