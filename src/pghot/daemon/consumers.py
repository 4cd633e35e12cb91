"""The unix socket: several consumers read status and hot pages from what the daemon alone read from the kernel.

A request is one line of JSON, an answer too:

    {"get": "status"}
    {"get": "hot", "top": 20, "by": "region"}            "by": "page" or "region"
    {"get": "hot", "top": 20, "form": "arrow"}           {"bytes": N} and then N bytes of an Arrow IPC stream
    {"get": "hot", "top": 20, "every_ms": 1000}          an answer every second until the consumer leaves

The daemon never waits for a consumer. All answers together take a bounded share of its time and a bounded rate of
bytes; consumers have turns, a step of an answer at a time. Each has one request in work, and has to take its answer in
time.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import deque
from pathlib import Path

from pghot.daemon.answers import Answer, Answers, Request, line, read_request
from pghot.daemon.door import Door, Visitor
from pghot.daemon.listening import SocketFile
from pghot.errors import PghotError
from pghot.kernel.shortage import Shortages

LINE_BYTES = 1 << 16  # the longest request
LINE_S = 5.0  # from its first byte to its last
IDLE_S = 300.0  # from one request to the next
TAKE_S = 5.0  # an answer has to be taken by then
MOST_CONSUMERS = 64
OWN_PLACES = 8  # of these for root and the daemon's user alone
MOST_OF_USER = 16  # for anybody else
# All answers together: this share of the time, and a quarter of what pghot may use of a CPU, a turn at a time; and so
# many bytes a second.
MOST_SHARE, SHARE_OF_BUDGET = 0.05, 0.25
TURN_S, MOST_PAUSE_S = 0.002, 1.0
BYTES_PER_S = 8 << 20


class Server:
    """Serves consumers in the daemon's own loop.

    dropped  consumers that did not take an answer, or did not end a request, in time
    """

    def __init__(self, answers: Answers, shortages: Shortages, max_cpu_percent: float = math.inf) -> None:
        self.within(max_cpu_percent)
        self._answers = answers
        self._door = Door(lambda door, user: Consumer(door, user, self), self._admit, shortages, IDLE_S)
        self._file: SocketFile | None = None
        self._waiting: deque[Consumer] = deque()
        self._turn_at: asyncio.TimerHandle | None = None
        self._free_s = 0.0
        self.dropped = 0

    @property
    def consumers(self) -> int:
        return len(self._door.inside) + len(self._door.hall)

    @property
    def refused(self) -> int:
        """Connections that were sent away: too many, or too many of one user."""
        return self._door.refused

    def within(self, max_cpu_percent: float) -> None:
        """Take no more of a CPU than that allows."""
        self._share = min(MOST_SHARE, SHARE_OF_BUDGET * max_cpu_percent / 100)

    def open(self, path: Path, group: str = "") -> None:
        """Listen. Raises `UsageError` when somebody does already, or the group does not exist."""
        self._file = SocketFile(path, group)
        self._door.open(self._file.listening)

    def close(self) -> None:
        """Stop listening, let the consumers go, remove the socket."""
        if self._turn_at is not None:
            self._turn_at.cancel()
        self._door.close()
        if self._file is not None:
            self._file.remove()

    def _admit(self, user: int) -> bool:
        if user in (0, os.geteuid()):
            return self.consumers < MOST_CONSUMERS
        users = [*(each.user for each in self._door.inside), *self._door.hall.values()]
        return len(users) < MOST_CONSUMERS - OWN_PLACES and users.count(user) < MOST_OF_USER

    # ---- turns

    def ask_turn(self, consumer: Consumer) -> None:
        """The consumer waits for an answer."""
        self._waiting.append(consumer)
        self._schedule()

    def _schedule(self) -> None:
        if self._turn_at is None and self._waiting:
            loop = asyncio.get_running_loop()
            self._turn_at = loop.call_at(max(loop.time(), self._free_s), self._turn)

    def _turn(self) -> None:
        self._turn_at = None
        began_s, sent = time.perf_counter(), 0
        try:
            while self._waiting and time.perf_counter() - began_s < TURN_S:
                consumer = self._waiting.popleft()
                if consumer.transport is None:
                    continue
                try:
                    sent += consumer.step(self._answers)
                except Exception:
                    consumer.drop()
                    raise  # the log of the loop says what
                if consumer.in_work:
                    self._waiting.append(consumer)
        finally:
            took_s = time.perf_counter() - began_s
            pause_s = min(max(took_s / self._share, sent / BYTES_PER_S), MOST_PAUSE_S)
            self._free_s = asyncio.get_running_loop().time() + pause_s
            self._schedule()


class Consumer(Visitor):
    """One connection of a consumer."""

    def __init__(self, door: Door, user: int, server: Server) -> None:
        super().__init__(door, user)
        self._server = server
        self._buffer = bytearray()
        self._ended = False  # it will say nothing more
        self._line: bytes | None = None
        self._request: Request | None = None
        self._answer: Answer | None = None
        self._taking = False

    @property
    def in_work(self) -> bool:
        """Whether its answer takes more steps."""
        return self._answer is not None

    @property
    def _busy(self) -> bool:
        return self._line is not None or self.in_work or self._taking

    @property
    def _subscribed(self) -> bool:
        return self._request is not None and self._request.every_ms > 0

    # ---- what it says

    def began(self) -> None:
        self.in_time(IDLE_S)

    def data_received(self, data: bytes) -> None:
        if self._subscribed:  # it has nothing more to say
            self._too_late()
            return
        fresh = not self._buffer
        self._buffer += data
        self._next(fresh)

    def eof_received(self) -> bool:
        self._ended = True
        if not self._busy and not self._subscribed and self.transport is not None:
            self.transport.close()
        return True  # it may still read its answers

    def _next(self, fresh: bool = True) -> None:
        """Take the next request, or wait for the rest of it."""
        if self.transport is None or self._busy:
            return
        end = self._buffer.find(b"\n", 0, LINE_BYTES)
        if end >= 0:
            self._line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self.in_time(None)
            self.transport.pause_reading()
            self._server.ask_turn(self)
        elif len(self._buffer) >= LINE_BYTES:
            self._too_late()
        elif self._ended:
            self.transport.close()
        else:
            self.transport.resume_reading()
            if fresh:
                self.in_time(LINE_S if self._buffer else IDLE_S, self._too_late if self._buffer else None)

    # ---- what it is told

    def step(self, answers: Answers) -> int:
        """One step of its answer; how many bytes were sent."""
        try:
            if self._line is not None:
                text, self._line = self._line, None
                self._request = read_request(text)
                self._answer = answers.to(self._request)
            assert self._answer is not None
            self._answer.step()
        except PghotError as error:
            self._request = None
            return self._send(line({"error": str(error)}))
        return 0 if self._answer.text is None else self._send(self._answer.text)

    def _send(self, text: bytes) -> int:
        self._answer, self._taking = None, True
        assert self.transport is not None
        self.transport.write(text)
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.in_time(TAKE_S, self._too_late)
        else:
            self._taken()
        return len(text)

    def resume_writing(self) -> None:
        self._taken()

    def _taken(self) -> None:
        if not self._taking or self.transport is None:
            return
        self._taking = False
        if self._request is not None and self._request.every_ms:
            self.transport.resume_reading()  # to notice that it leaves
            self.in_time(self._request.every_ms / 1000, self._again)
        else:
            self._request = None
            self._next()

    def _again(self) -> None:
        if self._request is not None and self.transport is not None:
            self._line = self._request.model_dump_json().encode()
            self._server.ask_turn(self)

    def _too_late(self) -> None:
        self._server.dropped += 1
        self.drop()
