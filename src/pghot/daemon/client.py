"""Asking a daemon through its unix socket (`pghot.daemon.consumers`)."""

from __future__ import annotations

import json
import socket
import struct
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pghot.errors import NotPermittedError, PghotError, UsageError
from pghot.units import format_number

if TYPE_CHECKING:
    # They bring Numba, which a client does not need.
    from pghot.live.hot import HotFacts
    from pghot.live.status_facts import StatusFacts


def ask(path: Path, request: dict[str, Any], timeout_s: float = 10.0) -> tuple[dict[str, Any], bytes]:
    """One request of a client: the answer, and the bytes that follow it.

    Raises `UsageError` when no daemon listens, `NotPermittedError` when this user may not ask, `PghotError` when it
    does not answer.
    """
    with socket.socket(socket.AF_UNIX) as channel:
        # So long connect(2) waits for a place in the queue. With Python's own timeout it would not wait at all.
        limit = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        try:
            channel.connect(str(path))
            channel.settimeout(timeout_s)
        except PermissionError:
            raise NotPermittedError(
                f"not permitted to ask the daemon at {path}", "run as root or in its group"
            ) from None
        except BlockingIOError:
            raise PghotError(
                f"the daemon at {path} is flooded: nobody got in for {format_number(timeout_s)} s",
                "see who asks it",
            ) from None
        except OSError:
            raise UsageError(
                f"no pghot daemon at {path}", "start one with `pghot daemon`, or name its --socket"
            ) from None
        with channel.makefile("rwb") as stream:
            try:
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                answer, body = _answer_of(stream)
            except (OSError, ValueError) as error:
                raise PghotError(f"the daemon at {path} gave no answer: {error}", "see its log") from None
    if "error" in answer:
        raise UsageError(f"the daemon refused the request: {answer['error']}", "see `pghot hot --help`")
    return answer, body


def ask_status(path: Path) -> StatusFacts:
    """What the daemon does now. Raises as `ask`."""
    return cast("StatusFacts", ask(path, {"get": "status"})[0])


def ask_hot(path: Path, top: int, by: str = "region") -> HotFacts:
    """The hottest pages or regions that the daemon knows. Raises as `ask`."""
    return cast("HotFacts", ask(path, {"get": "hot", "top": top, "by": by})[0])


def _answer_of(stream: BufferedIOBase) -> tuple[dict[str, Any], bytes]:
    """The answer and its bytes, all of them. Raises `ValueError` for what no daemon of pghot's says."""
    answer = json.loads(stream.readline())
    known = isinstance(answer, dict) and {"schema", "error", "bytes"} & answer.keys()
    if not known or not isinstance(size := answer.get("bytes", 0), int):
        raise ValueError("what listens there is no daemon of pghot's")
    body = stream.read(size) if size > 0 else b""
    if len(body) != size:
        raise ValueError(f"{len(body)} of {size} bytes came")
    return answer, body
