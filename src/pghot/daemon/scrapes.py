"""The Prometheus endpoint over HTTP. Any local user may connect to it, and anybody who can reach its address.

It speaks as much HTTP as a scrape needs, on a request that has come whole: the standard library reads its head. There
is one text for each form and status, however often it is asked for. A connection serves one request.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import Any

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pghot.daemon.door import BACKLOG, Door, Visitor
from pghot.daemon.prometheus import families
from pghot.errors import PghotError, UsageError
from pghot.kernel.shortage import Shortages
from pghot.version import __version__

# Connections at a time, of those who said something and of those who did not; one more takes the place of the oldest.
MOST_SCRAPES, MOST_SILENT = 16, 64
HEAD_BYTES = 8192  # of a request
TIME_S = 5.0  # from the connection to the end of the answer

# The latest status facts, None before the first.
Status = Callable[[], Mapping[str, Any] | None]


class _Facts(Collector):
    """Turns the status facts into metric families."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        if (facts := self._status()) is not None:
            yield from families(facts)


class Metrics:
    """The endpoint while it is open. Opens in the running loop."""

    def __init__(self, address: str, status: Status, shortages: Shortages) -> None:
        """Raises `UsageError` when the port is in use or the address is not ours."""
        self._status = status
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Facts(status))
        self._texts: dict[str, bytes] = {}
        self._of: Mapping[str, Any] | None = None  # the facts that these tell
        self._door = Door(self._visitor, self._admit, shortages, TIME_S)
        self._door.open(_listening(address))

    def close(self) -> None:
        self._door.close()

    def answer(self, head: bytes) -> bytes:
        """What is said to a request, of which this is all up to the empty line."""
        return _Answered(head, self._text).written

    def _admit(self, user: int) -> bool:
        if len(self._door.hall) >= MOST_SILENT:
            self._door.send_away(next(iter(self._door.hall)))
        return True

    def _visitor(self, door: Door, user: int) -> _Scrape:
        if len(door.inside) >= MOST_SCRAPES:
            oldest = next(iter(door.inside))
            door.left(oldest)
            oldest.drop()
        return _Scrape(door, user, self.answer)

    def _text(self, accept: str) -> tuple[bytes, str]:
        """The metrics in a form that is accepted, and what it is called."""
        try:
            encoder, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # the library does not expect a version that is no number
            encoder, content_type = choose_encoder("")
        if self._of is not (facts := self._status()):
            self._of, self._texts = facts, {}
        if content_type not in self._texts:
            self._texts[content_type] = encoder(self._registry)
        return self._texts[content_type], content_type


class _Scrape(Visitor):
    """One connection. `answer` says what to write to a request."""

    def __init__(self, door: Door, user: int, answer: Callable[[bytes], bytes]) -> None:
        super().__init__(door, user)
        self._answer = answer
        self._head = bytearray()

    def began(self) -> None:
        self.in_time(TIME_S)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if 0 <= end <= HEAD_BYTES:
            self.transport.pause_reading()
            self.transport.write(self._answer(bytes(self._head[: end + 4])))
            self.transport.close()  # when all is taken; until then the time runs
        elif len(self._head) > HEAD_BYTES:
            self.drop()


class _Answered(BaseHTTPRequestHandler):
    """The standard library's handler, over bytes in place of a connection. `written` is the answer."""

    server_version, sys_version = f"pghot/{__version__}", ""

    def __init__(self, head: bytes, text: Callable[[str], tuple[bytes, str]]) -> None:
        self._text = text
        self.rfile, self.wfile = BytesIO(head), BytesIO()
        self.client_address = ("", 0)
        self.handle_one_request()

    @property
    def written(self) -> bytes:
        return self.wfile.getvalue()  # type: ignore[attr-defined,no-any-return]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        text, content_type = self._text(self.headers.get("Accept", ""))
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Who asks for what is no event."""


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:  # the resolver's own, for a name that no host can have
        raise PghotError(
            f"cannot serve metrics at {address}: {error}", "give an address of this machine"
        ) from None
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"cannot serve metrics at {address}: {error.strerror or error}",
            'choose another [service] metrics = "address:port"',
        ) from None
    return listening
