"""A listening socket among strangers. They are let in at a bounded rate, up to a bounded number, and have to do in time
what is waited for.

Everything happens in the daemon's loop, between two rounds. Nothing here waits for anybody.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from pghot.daemon.descriptors import kept_back
from pghot.kernel.shortage import Shortages

# A turn, and its share of the time. Others wait in the kernel's queue meanwhile. To let one in and to answer it takes
# some 0.4 ms, most of it after the turn.
WORK_S, SHARE = 0.001, 0.03
ENTRY_S = 0.0003
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
    """Lets visitors in, once they have something to say: who is silent costs next to nothing.

    make       a visitor, for the user at the other end
    admit      whether one more of that user may wait in the hall; it may send others away for it
    shortages  where it is told when there are no descriptors
    silence_s  who says nothing for so long is sent away
    hall       who has not said anything yet, each with the user
    inside     who has, in the order in which they came in
    refused    how many were sent away at the door
    """

    def __init__(
        self,
        make: Callable[[Door, int], Visitor],
        admit: Callable[[int], bool],
        shortages: Shortages,
        silence_s: float,
    ) -> None:
        self._make, self._admit, self._shortages = make, admit, shortages
        self._silence_s = silence_s
        self._listening: socket.socket | None = None
        self._again: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        self._speaking: deque[socket.socket] = deque()
        self._resting = False
        self.hall: dict[socket.socket, int] = {}
        self.inside: dict[Visitor, None] = {}
        self.refused = 0

    def open(self, listening: socket.socket) -> None:
        """Let visitors in from now on, through a socket that listens."""
        self._listening = listening
        listening.setblocking(False)
        asyncio.get_running_loop().add_reader(listening.fileno(), self._turn)

    def close(self) -> None:
        """Let nobody in any more, and send away who is there."""
        if self._again is not None:
            self._again.cancel()
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening.fileno())
            self._listening.close()
            self._listening = None
        for connection in list(self.hall):
            self.send_away(connection)
        for each in list(self.inside):
            each.drop()

    def send_away(self, connection: socket.socket) -> None:
        """End a connection in the hall."""
        self._leave_hall(connection)
        connection.close()

    def left(self, visitor: Visitor) -> None:
        """It is gone."""
        self.inside.pop(visitor, None)

    # ---- turns

    def _turn(self) -> None:
        """Receive those at the door, and let in who speaks; then rest, so that it takes its share of the time."""
        began_s = time.perf_counter()
        later_s = 0.0
        while (took_s := time.perf_counter() - began_s + later_s) < WORK_S:
            if self._speaking:
                self._let_in(self._speaking.popleft())
                later_s += ENTRY_S
            elif not self._accept():
                break
        if not self._resting:
            self._rest(took_s / SHARE)

    def _rest(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._resting = True
        if self._listening is not None:
            loop.remove_reader(self._listening.fileno())
            self._again = loop.call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._resting = False
        if self._listening is not None:
            asyncio.get_running_loop().add_reader(self._listening.fileno(), self._turn)
            if self._speaking:
                self._turn()

    def _accept(self) -> bool:
        """Receive one of those at the door. False: nobody is there, or nobody can be received now."""
        if self._listening is None:
            return False
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if self._shortages.of(error):
                self._rest(SHORT_S)
            return False  # or whoever it was left again
        user = _user(connection)
        if kept_back(connection.fileno()) or not self._admit(user):
            self.refused += 1
            connection.close()
            return True
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        self.hall[connection] = user
        self._silent[connection] = loop.call_later(self._silence_s, self.send_away, connection)
        if (left := _left(connection)) is None:
            loop.add_reader(connection.fileno(), self._speaks, connection)
        elif left:
            self.send_away(connection)
        else:
            self._speaking.append(connection)
        return True

    def _speaks(self, connection: socket.socket) -> None:
        """It says something, or left."""
        if (left := _left(connection)) is None:
            return
        if left:
            self.send_away(connection)
            return
        asyncio.get_running_loop().remove_reader(connection.fileno())
        self._speaking.append(connection)
        if not self._resting:
            self._turn()

    def _leave_hall(self, connection: socket.socket) -> int:
        """The user of who leaves it."""
        user = self.hall.pop(connection, -1)
        if (timer := self._silent.pop(connection, None)) is not None:
            timer.cancel()
        asyncio.get_running_loop().remove_reader(connection.fileno())
        return user

    def _let_in(self, connection: socket.socket) -> None:
        if connection.fileno() < 0:
            return  # it was sent away meanwhile
        visitor = self._make(self, self._leave_hall(connection))
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


def _left(connection: socket.socket) -> bool | None:
    """Whether the other end has left without a word; None: it says nothing."""
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return True


def _user(connection: socket.socket) -> int:
    """Effective user id of whoever connected to a Unix socket (SO_PEERCRED, unix(7)); -1 of another socket."""
    if connection.family != socket.AF_UNIX:
        return -1
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], "little", signed=True)
