"""sd_notify(3): telling systemd that the service is ready, reloads, stops, is alive."""

from __future__ import annotations

import contextlib
import os
import socket


class Manager:
    """The service manager, if there is one. Its socket stays open: a daemon that is out of descriptors is alive, and a
    manager that does not hear so would end it."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None

    def tell(self, *lines: str) -> None:
        """Send lines such as "READY=1". Never waits: a stalled manager must not stall the loop."""
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
