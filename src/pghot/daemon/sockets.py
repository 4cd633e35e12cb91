"""The unix socket: several consumers read status and hot pages from what the daemon alone read from the kernel.

A request is one line of JSON, an answer too:

    {"get": "status"}
    {"get": "hot", "top": 20, "by": "region"}            "by": "page" or "region"
    {"get": "hot", "top": 20, "form": "arrow"}           {"bytes": N} and then N bytes of an Arrow IPC stream
    {"get": "hot", "top": 20, "every_ms": 1000}          an answer every second until the consumer leaves

The daemon never waits for a consumer: one that does not read is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import socket
import stat
from collections.abc import Callable, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pghot.errors import NotPermittedError, PghotError, UsageError
from pghot.kernel.process import descriptor_path
from pghot.trusted import make_directory

if TYPE_CHECKING:
    # They bring Numba, which a client does not need.
    from pghot.live.hot import HotFacts, Hottest
    from pghot.live.status_facts import StatusFacts

LINE_BYTES = 1 << 16  # the longest request
BEHIND_BYTES = 1 << 20  # a consumer this far behind is dropped
MOST_CONSUMERS = 64


class Request(BaseModel):
    """One request; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")

    get: Literal["status", "hot"]
    top: int = Field(20, ge=1, le=1 << 20)
    by: Literal["page", "region"] = "region"
    form: Literal["json", "arrow"] = "json"
    every_ms: int = Field(0, ge=0, le=3_600_000)


class Server:
    """Serves consumers in the daemon's own loop with the answers of `status` and `hot`."""

    def __init__(
        self,
        status: Callable[[], Mapping[str, Any]],
        hot: Callable[[int, Literal["page", "region"]], Hottest],
    ) -> None:
        self._status, self._hot = status, hot
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._path: Path | None = None
        self.dropped = 0

    @property
    def consumers(self) -> int:
        return len(self._writers)

    async def open(self, path: Path, group: str = "") -> None:
        """Listen. Raises `UsageError` when somebody does already, or the group does not exist."""
        number = _group_number(group)
        before = os.umask(0o022)
        try:
            _make_way(path)
            make_directory(path.parent, 0o755)  # may be entered by the socket's group
            os.umask(0o177)
            self._server = await asyncio.start_unix_server(self._serve, path, limit=LINE_BYTES)
        except PermissionError:
            raise NotPermittedError(
                f"not permitted to make the socket {path}", "run as root, or name another"
            ) from None
        except OSError as error:
            raise UsageError(
                f"cannot make the socket {path}: {error.strerror or error}", "name another"
            ) from None
        finally:
            os.umask(before)
        self._path = path
        if number is not None:
            _give_to(path, group, number)

    async def close(self) -> None:
        """Stop listening, let the consumers go, remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            self._drop(writer)
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= MOST_CONSUMERS:
            self._drop(writer)
            return
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                await self._answer(line, writer)
                if writer.is_closing():
                    return
        except (ConnectionError, ValueError):  # it left, or sent a line that is too long
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            request = Request.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "request"
            self._write(writer, _line({"error": f"{where}: {first['msg']}"}))
            return
        self._write(writer, self._bytes(request))
        while request.every_ms and not writer.is_closing():
            await asyncio.sleep(request.every_ms / 1000)
            self._write(writer, self._bytes(request))

    def _bytes(self, request: Request) -> bytes:
        if request.get == "status":
            return _line(self._status())
        hottest = self._hot(request.top, request.by)
        if request.form == "arrow":
            body = hottest.arrow()
            return _line({"bytes": len(body)}) + body
        rows = hottest.rows()
        why = [] if rows else self._status()["nothing_seen"]
        return _line({"schema": "pghot.hot/1", "by": request.by, "hot": rows, "nothing_seen": why})

    def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > BEHIND_BYTES:
            self.dropped += 1
            self._drop(writer)
            return
        writer.write(data)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()


def _line(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts).encode() + b"\n"


def _group_number(group: str) -> int | None:
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(
            f"the group '{group}' for the socket does not exist", "name one of `getent group`"
        ) from None


def _give_to(path: Path, group: str, number: int) -> None:
    # Through a descriptor: whoever may write to the directory could replace the socket by a link to any file.
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise UsageError(f"{path} is another file now", "name a socket where nobody else may write")
        itself = descriptor_path(fd)
        os.chown(itself, -1, number)
        os.chmod(itself, 0o660)
    except PermissionError:
        raise NotPermittedError(
            f"not permitted to give the socket {path} to the group '{group}'",
            "run as root, or name a group that this user is in",
        ) from None
    finally:
        os.close(fd)


def _make_way(path: Path) -> None:
    """Remove a socket that nobody listens at any more. Raises `UsageError` for anything else at that path, and
    `PermissionError` for a socket of another user, since nobody can tell whether it is in use."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise UsageError(f"{path} exists and is not a socket", "name another socket")
    except OSError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except PermissionError:
            raise
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise UsageError(f"a daemon listens at {path} already", "stop it first, or name another socket")


def ask(path: Path, request: dict[str, Any], timeout_s: float = 10.0) -> tuple[dict[str, Any], bytes]:
    """One request of a client: the answer, and the bytes that follow it.

    Raises `UsageError` when no daemon listens, `NotPermittedError` when this user may not ask, `PghotError` when it
    does not answer.
    """
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(timeout_s)
        try:
            channel.connect(str(path))
        except PermissionError:
            raise NotPermittedError(
                f"not permitted to ask the daemon at {path}", "run as root or in its group"
            ) from None
        except OSError:
            raise UsageError(
                f"no pghot daemon at {path}", "start one with `pghot daemon`, or name its --socket"
            ) from None
        with channel.makefile("rwb") as stream:
            try:
                stream.write(_line(request))
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
