"""A listening socket among strangers. They are let in at a bounded rate, up to a bounded number, and have to do in time
what is waited for.

Everything happens in the daemon's loop, between two rounds. Nothing here waits for anybody.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from pghot.daemon.descriptors import kept_back
from pghot.kernel.shortage import Shortages

# To let one in and to answer it takes some 0.3 ms: 1 % of a CPU. Others wait in the kernel's queue.
PER_TURN, TURN_S = 4, 0.1
BACKLOG = 128
SHORT_S = 1.0  # out of descriptors: nobody is let in for so long


class Visitor(asyncio.Protocol):
    """One connection. A subclass says what is made of what comes.

    user  who is at the other end of a Unix socket; -1 where nobody can tell
    """

    def __init__(self, door: Door, user: int) -> None:
        self._door, self.user = door, user
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=0)  # so that `resume_writing` says when all was taken
        self.began()

    def connection_lost(self, error: Exception | None) -> None:
        self.in_time(None)
        self.transport = None
        self._door.left(self)

    def began(self) -> None:
        """It is in."""
        raise NotImplementedError

    def in_time(self, seconds: float | None, late: Callable[[], None] | None = None) -> None:
        """Drop it, or call `late`, unless this is called again within so many seconds. None: take its time."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if seconds is None else loop.call_later(seconds, late or self.drop)

    def drop(self) -> None:
        """End the connection now, whatever it has not read."""
        if self.transport is not None:
            self.transport.abort()


class Door:
    """Lets visitors in.

    make       a visitor, for the user at the other end
    admit      whether one more of that user may come in; it may drop others for it
    shortages  where it is told when there are no descriptors
    refused    how many were sent away at the door
    """

    def __init__(
        self,
        make: Callable[[Door, int], Visitor],
        admit: Callable[[int], bool],
        shortages: Shortages,
    ) -> None:
        self._make, self._admit, self._shortages = make, admit, shortages
        self._listening: socket.socket | None = None
        self._again: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self.inside: dict[Visitor, None] = {}  # in the order in which they came
        self.refused = 0

    def open(self, listening: socket.socket) -> None:
        """Let visitors in from now on, through a socket that listens."""
        self._listening = listening
        listening.setblocking(False)
        self._turn()

    def close(self) -> None:
        """Let nobody in any more, and send away who is in."""
        if self._again is not None:
            self._again.cancel()
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None
        for each in list(self.inside):
            each.drop()

    def left(self, visitor: Visitor) -> None:
        """It is gone."""
        self.inside.pop(visitor, None)

    def _turn(self) -> None:
        """As many as may come in a turn, whenever they come."""
        self._left_in_turn = PER_TURN
        if self._listening is not None:
            asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _rest(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._listening is not None:
            loop.remove_reader(self._listening)
        self._again = loop.call_later(seconds, self._turn)

    def _accept(self) -> None:
        assert self._listening is not None
        while self._left_in_turn:
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if self._shortages.of(error):
                    self._rest(SHORT_S)
                return  # whoever it was left again
            self._left_in_turn -= 1
            self._let_in(connection)
        self._rest(TURN_S)

    def _let_in(self, connection: socket.socket) -> None:
        user = _user(connection)
        if kept_back(connection.fileno()) or not self._admit(user):
            self.refused += 1
            connection.close()
            return
        connection.setblocking(False)
        visitor = self._make(self, user)
        self.inside[visitor] = None
        task = asyncio.ensure_future(self._connect(visitor, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, visitor: Visitor, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: visitor, connection)
        except BaseException:
            self.left(visitor)
            with suppress(OSError):
                connection.close()
            raise


def _user(connection: socket.socket) -> int:
    """Effective user id of whoever connected to a Unix socket (SO_PEERCRED, unix(7)); -1 of another socket."""
    if connection.family != socket.AF_UNIX:
        return -1
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], "little", signed=True)
