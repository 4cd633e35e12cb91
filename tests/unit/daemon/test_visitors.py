"""Hostile visitors of both servers: whatever they do, the servers stay well and others are served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.scarcity import no_descriptors
from pghot.daemon import consumers, descriptors, door, scrapes
from pghot.daemon.answers import Answers
from pghot.daemon.client import ask
from pghot.daemon.consumers import LINE_BYTES, MOST_CONSUMERS, MOST_OF_USER, OWN_PLACES, Server
from pghot.daemon.descriptors import kept_back, raise_limit
from pghot.daemon.listening import SocketFile
from pghot.daemon.scrapes import HEAD_BYTES, MOST_SCRAPES, MOST_SILENT, Metrics
from pghot.errors import PghotError, UsageError
from pghot.kernel.shortage import Shortages
from pghot.live.hot import By, Hottest
from unit.daemon.test_sockets_and_metrics import FACTS
from waiting import GUARD_S

STATUS = b'{"get": "status"}\n'
PAGES = 100_000
ODD_FORMS = b"application/openmetrics-text;q=x;version=,"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SHARE", 0.5)
    monkeypatch.setattr(door, "SHORT_S", 0.001)


def hottest(top: int, by: By) -> Hottest:
    count = min(top, PAGES)
    zero = np.zeros(count, np.uint32)
    return Hottest(
        zero.astype(np.int32), zero.astype(np.uint64), zero, zero.astype(np.int16), np.arange(count, dtype=np.uint32)
    )  # fmt: skip


class Bench:
    """Both servers in the running loop."""

    def __init__(self, place: Path) -> None:
        facts: Any = {"schema": "pghot.status/1", "nothing_seen": []}
        self.shortages = Shortages()
        self.answers = Answers(lambda: facts, hottest)
        self.server = Server(self.answers, self.shortages)
        self.path = place / "s"
        self.facts: dict[str, Any] | None = FACTS

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(asyncio.open_unix_connection(self.path, limit=1 << 24), GUARD_S)

    async def to_metrics(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), GUARD_S)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Bench]:
        self.server.open(self.path)
        self.metrics = Metrics("127.0.0.1:0", lambda: self.facts, self.shortages)
        assert self.metrics._door._listening is not None
        self.port = self.metrics._door._listening.getsockname()[1]
        try:
            yield self
        finally:
            self.metrics.close()
            self.server.close()

    async def status(self) -> dict[str, Any]:
        """What an honest consumer is told."""
        reader, writer = await self.connect()
        writer.write(STATUS)
        found: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), GUARD_S))
        writer.close()
        return found

    async def scrape(self, request: bytes = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n") -> bytes:
        """What an honest scrape is told, up to the end of the connection."""
        reader, writer = await self.to_metrics()
        writer.write(request)
        found = await asyncio.wait_for(reader.read(), GUARD_S)
        writer.close()
        return found

    async def well(self) -> None:
        assert (await self.status())["schema"] == "pghot.status/1"
        head, _, body = (await self.scrape()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK")
        assert b"pghot_apply_enabled 1.0" in body


async def awaited(what: Any) -> None:
    """Until `what()` holds. The guard is for a test that hangs."""
    async with asyncio.timeout(GUARD_S):
        while not what():
            await asyncio.sleep(0.005)


# ---- the metrics


def test_a_thousand_connections_to_the_metrics_hold_nothing(tmp_path: Path) -> None:
    """They say nothing and stay. A scrape gets its answer, and the daemon keeps its descriptors."""

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            held = []
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(1024):
                silent = socket.socket()
                silent.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    silent.connect(("127.0.0.1", bench.port))
                held.append(silent)
                await asyncio.sleep(0)
            await bench.well()
            assert len(bench.metrics._door.hall) <= MOST_SILENT
            assert len(os.listdir("/proc/self/fd")) - before - len(held) <= MOST_SILENT + 2
            for each in held:
                each.close()

    raise_limit()
    asyncio.run(main())


def test_a_request_has_to_come_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte after the other does not help."""
    monkeypatch.setattr(scrapes, "TIME_S", 0.05)

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            reader, writer = await bench.to_metrics()
            gone = asyncio.ensure_future(reader.read())
            while not gone.done():
                writer.write(b"G")
                await asyncio.sleep(0.01)
            with contextlib.suppress(ConnectionError):
                assert gone.result() == b""
            monkeypatch.setattr(scrapes, "TIME_S", GUARD_S)
            await bench.well()

    asyncio.run(main())


def test_an_answer_that_nobody_reads_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "TIME_S", 0.05)
    monkeypatch.setattr(Metrics, "_text", lambda *_: (b"x" * (64 << 20), "text/plain"))

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port, limit=1)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await awaited(lambda: len(bench.metrics._door.inside) == 1)
            await awaited(lambda: not bench.metrics._door.inside)
            writer.close()
            del reader

    asyncio.run(main())


@pytest.mark.parametrize(
    "request_, first",
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.0 200 OK"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.0 200 OK"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n", b"HTTP/1.0 501"),
        (b"GET / HTTP/9.9\r\n\r\n", b"<!DOCTYPE HTML>"),
        (b"GET / HTTP/1." + b"9" * 5000 + b"\r\n\r\n", b"<!DOCTYPE HTML>"),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b""),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"HTTP/1.0 431"),
        (b"GET /" + b"x" * (HEAD_BYTES + 9) + b" HTTP/1.1\r\n\r\n", b""),
        (b"GET / HTTP/1.1\r\nAccept: " + ODD_FORMS * 99 + b"\r\n\r\n", b"HTTP/1.0 200"),
        (b"GET / HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.x.0\r\n\r\n", b"HTTP/1.0 200"),
        (b"<script>alert(1)</script> / HTTP/1.1\r\n\r\n", b"HTTP/1.0 501"),
    ],
)  # fmt: skip
def test_requests_and_what_they_get(tmp_path: Path, request_: bytes, first: bytes) -> None:
    async def main() -> bytes:
        async with Bench(tmp_path).serving() as bench:
            with contextlib.suppress(ConnectionError):
                return await bench.scrape(request_)
            return b""

    answer = asyncio.run(main())
    assert answer.startswith(first)
    assert b"<script>" not in answer.partition(b"\r\n\r\n")[2]
    if request_.startswith(b"HEAD"):
        assert answer.endswith(b"\r\n\r\n")


@settings(max_examples=200)
@given(st.binary(max_size=300) | st.text("GET /HTP1.\r\n:;=q,", max_size=60).map(str.encode))
def test_any_head_gets_an_answer_or_nothing(data: bytes) -> None:
    class Bare(Metrics):
        def __init__(self) -> None:
            pass

        def _text(self, accept: str) -> tuple[bytes, str]:
            return b"metrics", "text/plain"

    answer = Bare().answer(data + b"\r\n\r\n")
    assert answer == b"" or answer.startswith((b"HTTP/1.0 ", b"HTTP/1.1 100", b"metrics", b"<!DOCTYPE"))


def test_one_text_for_each_status_however_many_scrape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    honest = scrapes.choose_encoder

    def counted(accept: str) -> Any:
        encode, content_type = honest(accept)

        def encoded(registry: Any) -> bytes:
            made.append(content_type)
            return encode(registry)

        return encoded, content_type

    monkeypatch.setattr(scrapes, "choose_encoder", counted)

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            openmetrics = b"GET / HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n"
            for _ in range(3):
                assert b"pghot_apply_enabled" in await bench.scrape()
                assert b"# EOF" in await bench.scrape(openmetrics)
            assert len(made) == 2
            bench.facts = dict(FACTS)
            await bench.scrape()
            assert len(made) == 3
            bench.facts = None
            assert (await bench.scrape()).endswith(b"\r\n\r\n"), "nothing is known before the first round"

    asyncio.run(main())


# ---- the consumers


@pytest.mark.parametrize(
    "said",
    [b"{", b'{"get": "status"', b"x" * 1000, b"\n" * 3 + b"{"],
    ids=["brace", "half", "text", "after lines"],
)
def test_half_a_line_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """Nor does it help to add to it."""
    monkeypatch.setattr(consumers, "LINE_S", 0.1)

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            reader, writer = await bench.connect()
            writer.write(said)
            gone = asyncio.ensure_future(reader.read())
            while not gone.done():
                await asyncio.sleep(0.01)
                writer.write(b" ")
            assert bench.server.dropped == 1
            monkeypatch.setattr(consumers, "LINE_S", GUARD_S)
            await bench.well()

    asyncio.run(main())


def test_silence_is_waited_for_longer_but_not_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "IDLE_S", 0.05)

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            reader, _ = await bench.connect()
            assert await asyncio.wait_for(reader.read(), GUARD_S) == b""
            assert bench.server.consumers == bench.server.dropped == 0

    asyncio.run(main())


def test_megabytes_without_an_end_are_not_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            reader, writer = await bench.connect()
            writer.write(b"x" * (16 << 20))
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), GUARD_S) == b""
            await awaited(lambda: bench.server.dropped == 1)
            writer.close()
            await bench.well()

    asyncio.run(main())


def test_many_requests_at_once_are_answered_one_after_the_other(tmp_path: Path) -> None:
    """As many as a line may be long are in hand; the others wait in the socket, not in memory."""
    count = 3 * LINE_BYTES // len(STATUS)

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            reader, writer = await bench.connect()
            bench.server._share = 1e9
            writer.write(STATUS * count)
            writer.write_eof()
            lines = (await asyncio.wait_for(reader.read(), GUARD_S)).splitlines()
            assert len(lines) == count
            await awaited(lambda: bench.server.consumers == 0)

    asyncio.run(main())


def test_whoever_leaves_at_once_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            for number in range(200):
                _, writer = await bench.connect()
                if number % 2:
                    writer.write(b'{"get": "hot", "top": 100000}\n')
                if number % 3:
                    writer.transport.abort()
                else:
                    writer.close()
            await awaited(lambda: bench.server.consumers == 0)
            await awaited(lambda: not bench.server._waiting)
            await bench.well()

    asyncio.run(main())


def test_a_subscriber_who_goes_on_talking_is_dropped(tmp_path: Path) -> None:
    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            reader, writer = await bench.connect()
            writer.write(b'{"get": "status", "every_ms": 3600000}\n')
            await asyncio.wait_for(reader.readline(), GUARD_S)
            writer.write(b"and another thing")
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), GUARD_S) == b""
            await awaited(lambda: bench.server.consumers == 0)

    asyncio.run(main())


def test_an_answer_has_to_be_taken_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "TAKE_S", 0.05)

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            _, writer = await asyncio.open_unix_connection(bench.path, limit=1)
            writer.write(b'{"get": "hot", "top": 100000, "by": "page", "form": "arrow"}\n')
            await awaited(lambda: bench.server.dropped == 1)
            await awaited(lambda: bench.server.consumers == 0)
            writer.close()
            await bench.well()

    asyncio.run(main())


def test_a_large_answer_does_not_hold_up_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that needs 196 steps, asked for first, and by ten consumers."""
    done: list[str] = []

    async def ask(bench: Bench, request: bytes, name: str) -> None:
        reader, writer = await bench.connect()
        writer.write(request)
        assert await asyncio.wait_for(reader.readline(), GUARD_S)
        done.append(name)
        writer.close()

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            large = [
                asyncio.ensure_future(ask(bench, b'{"get": "hot", "top": %d}\n' % (PAGES - number), "large"))
                for number in range(10)
            ]
            await awaited(lambda: any(each._answer for each in bench.server._waiting))
            await ask(bench, STATUS, "small")
            assert done == ["small"]
            bench.server._share = 1e9
            await asyncio.gather(*large)

    asyncio.run(main())


def test_answers_take_their_share_of_the_time_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the turns says that each look at it takes 1 ms: a turn of 2 ms, then a pause of 2 ms / share."""
    ticks = iter(range(10**9))

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            server, loop = bench.server, asyncio.get_running_loop()
            monkeypatch.setattr(consumers.time, "perf_counter", lambda: next(ticks) / 1000)
            _, writer = await bench.connect()
            writer.write(b'{"get": "hot", "top": 100000}\n')
            await awaited(lambda: server._free_s > 0)
            for percent, share in ((10.0, 0.025), (1.0, 0.0025), (400.0, 0.05)):
                server.within(percent)
                before = loop.time()
                server._turn_at and server._turn_at.cancel()
                server._turn()
                assert server._free_s - before >= min(0.002 / share, consumers.MOST_PAUSE_S)
                assert server._free_s - before < 0.010 / share + 0.5
            writer.close()

    asyncio.run(main())


def test_bytes_come_at_a_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 2.2 MB of Arrow the next answer waits for a quarter of a second, whatever it took to make."""

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            bench.server._share = 1e9
            reader, writer = await bench.connect()
            before = asyncio.get_running_loop().time()
            writer.write(b'{"get": "hot", "top": 100000, "form": "arrow"}\n')
            size = json.loads(await asyncio.wait_for(reader.readline(), GUARD_S))["bytes"]
            await asyncio.wait_for(reader.readexactly(size), GUARD_S)
            assert bench.server._free_s - before >= size / consumers.BYTES_PER_S > 0.2
            writer.close()

    asyncio.run(main())


def test_one_user_cannot_shut_out_the_others_nor_all_of_them_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users: list[int] = []
    monkeypatch.setattr(door, "_user", lambda _: users.pop(0) if users else os.geteuid())

    async def enter(bench: Bench, user: int) -> bool:
        users.append(user)
        reader, writer = await bench.connect()
        writer.write(STATUS)
        held.append(writer)
        with contextlib.suppress(ConnectionError):
            return bool(await asyncio.wait_for(reader.readline(), GUARD_S))
        return False

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            bench.server._share = 1e9
            for user, most in ((1001, MOST_OF_USER), (1002, MOST_OF_USER), (1003, MOST_OF_USER)):
                assert [await enter(bench, user) for _ in range(most + 1)] == [True] * most + [False]
            left = MOST_CONSUMERS - OWN_PLACES - 3 * MOST_OF_USER
            assert [await enter(bench, 1004 + number) for number in range(left + 1)] == [True] * left + [
                False
            ]
            assert [await enter(bench, os.geteuid()) for _ in range(OWN_PLACES + 1)] == [
                True
            ] * OWN_PLACES + [False]
            assert bench.server.consumers == MOST_CONSUMERS
            assert bench.server.refused == 5
            for each in held:
                each.close()

    held: list[asyncio.StreamWriter] = []
    asyncio.run(main())


# ---- the door


def test_visitors_come_in_for_a_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many knock: each look at the clock takes 0.25 ms here, so that a turn of 1 ms receives three of them."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(door.time, "perf_counter", lambda: next(ticks) / 4000)
    monkeypatch.setattr(door, "SHARE", 1e-6)

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            held = [await bench.connect() for _ in range(20)]
            await awaited(lambda: bench.server.consumers)
            for _ in range(20):
                await asyncio.sleep(0)
            assert bench.server.consumers == 1, "the first; then the door rests"
            bench.server._door._rested()
            await awaited(lambda: bench.server.consumers > 1)
            assert bench.server.consumers == 4
            for _, writer in held:
                writer.close()

    asyncio.run(main())


def test_a_door_that_nobody_knocks_at_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even after somebody was there: it does not look by itself."""
    turns: list[int] = []
    honest = door.Door._turn

    def counted(self: door.Door) -> None:
        turns.append(1)
        honest(self)

    monkeypatch.setattr(door.Door, "_turn", counted)

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            _, writer = await bench.connect()
            await awaited(lambda: bench.server.consumers)
            await awaited(lambda: not bench.server._door._resting)
            before = len(turns)
            await asyncio.sleep(0.05)
            assert len(turns) == before
            writer.close()

    asyncio.run(main())


def test_who_speaks_costs_more_than_who_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still: only what an entry is taken to cost ends a turn, after four of them."""
    monkeypatch.setattr(door.time, "perf_counter", lambda: 5.0)
    monkeypatch.setattr(door, "SHARE", 1e-6)

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            held = []
            for _ in range(10):
                reader, writer = await bench.connect()
                writer.write(STATUS)
                held.append((reader, writer))
            first = bench.server._door
            await awaited(lambda: first._resting)
            before = len(first.inside)
            assert before <= 1
            first._rested()
            await awaited(lambda: len(first.inside) > before)
            assert len(first.inside) == before + 4
            for _, writer in held:
                writer.close()

    asyncio.run(main())


def test_a_full_house_makes_room_for_the_next_scrape(tmp_path: Path) -> None:
    """Of those who said half of a request, the oldest goes."""

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            held = []
            for number in range(MOST_SCRAPES):
                reader, writer = await bench.to_metrics()
                writer.write(b"GET /")
                held.append((reader, writer))
                await awaited(lambda number=number: len(bench.metrics._door.inside) == number + 1)
            await bench.well()
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(held[0][0].read(), GUARD_S) == b""
            for _, writer in held:
                writer.close()

    asyncio.run(main())


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """Twice as many as are in use, and a bit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 2 * len(os.listdir("/proc/self/fd")) + 60
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    yield few
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_some_descriptors_are_not_for_visitors(tmp_path: Path, few_descriptors: int) -> None:
    """Those who hold connections get no further than the last quarter, which stays for the daemon's own files."""

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            taken = []
            while not kept_back(fd := os.open("/dev/null", os.O_RDONLY)):
                taken.append(fd)
            os.close(fd)
            reader, _ = await bench.connect()
            # The other end, which is ours too, took the first of those that are kept back.
            assert await asyncio.wait_for(reader.read(), GUARD_S) == b""
            assert bench.server.refused == 1
            own = [os.open("/proc/self/stat", os.O_RDONLY) for _ in range(few_descriptors // 8)]
            for each in (*own, *taken):
                os.close(each)
            await bench.well()

    asyncio.run(main())


def test_the_limit_is_raised_as_far_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(descriptors.resource, "setrlimit", lambda _, limit: set_to.append(limit))
    for soft, hard in ((1024, 4096), (1024, 1 << 20), (1024, -1), (4096, 4096), (1 << 20, 1 << 20), (-1, -1)):
        monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _, limit=(soft, hard): limit)
        raise_limit()
    assert set_to == [(4096, 4096), (1 << 16, 1 << 20), (1 << 16, -1)]
    assert not kept_back(1 << 20), "there is no limit"
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: (1024, 4096))
    assert [kept_back(fd) for fd in (3, 895, 896, 1023)] == [False, False, True, True]


def test_without_descriptors_nobody_comes_in_and_nothing_spins(tmp_path: Path) -> None:
    """accept(2) fails: that is a shortage, told once in a while, and the visitor waits in the kernel's queue."""

    async def main() -> None:
        async with Bench(tmp_path).serving() as bench:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            with no_descriptors():
                client.connect(str(bench.path))
                await awaited(lambda: bench.shortages.count >= 2)
                assert "LimitNOFILE" in bench.shortages.words
            await awaited(lambda: bench.server.consumers == 1)
            client.close()
            await bench.well()

    asyncio.run(main())


def test_a_consumer_whose_answer_cannot_be_made_in_any_way_is_dropped_and_others_go_on(
    tmp_path: Path,
) -> None:
    """A defect of ours is told by the loop's own handler, and harms one consumer."""

    async def main() -> None:
        seen: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
        async with Bench(tmp_path).serving() as bench:
            bench.answers._make_hot = lambda *_: 1 // 0  # type: ignore[assignment,return-value]
            reader, writer = await bench.connect()
            writer.write(b'{"get": "hot"}\n')
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), GUARD_S) == b""
            await bench.well()
            assert [type(each["exception"]) for each in seen] == [ZeroDivisionError]

    asyncio.run(main())


# ---- the socket's file


def test_a_queue_that_is_full_is_somebody_who_listens(tmp_path: Path) -> None:
    """connect(2) would wait there for as long as a stranger likes."""
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / "s"))
        theirs.listen(0)
        waiting = []
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            waiting.append(client)
            try:
                client.connect(str(tmp_path / "s"))
            except BlockingIOError:
                break
        with pytest.raises(UsageError, match="a daemon listens at"):
            SocketFile(tmp_path / "s")
        for each in waiting:
            each.close()
    assert (tmp_path / "s").is_socket()


@pytest.mark.parametrize("what", ["link", "dangling", "fifo", "directory", "file"])
def test_what_has_the_name_of_the_socket_stays_as_it_is(tmp_path: Path, what: str) -> None:
    path, precious = tmp_path / "s", tmp_path / "precious"
    precious.write_text("precious")
    if what == "link":
        path.symlink_to(precious)
    elif what == "dangling":
        path.symlink_to(tmp_path / "nothing")
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    else:
        path.write_text("precious")
    before = path.lstat()
    with pytest.raises(UsageError, match="exists and is not a socket"):
        SocketFile(path)
    assert path.lstat().st_ino == before.st_ino
    assert precious.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


def test_a_link_to_a_socket_that_is_stale_is_not_removed_either(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "other"))
    (tmp_path / "s").symlink_to(tmp_path / "other")
    with pytest.raises(UsageError, match="not a socket"):
        SocketFile(tmp_path / "s")
    assert (tmp_path / "other").is_socket()


def test_only_the_own_file_is_removed_at_the_end(tmp_path: Path) -> None:
    """Another daemon may have the place by now, if an administrator removed the file."""
    first = SocketFile(tmp_path / "s")
    (tmp_path / "s").unlink()
    second = SocketFile(tmp_path / "s")
    first.remove()
    first.listening.close()
    assert (tmp_path / "s").is_socket()
    second.remove()
    second.remove()
    second.listening.close()
    assert not (tmp_path / "s").exists()


def test_who_asks_waits_for_a_place_in_the_queue(tmp_path: Path) -> None:
    """A queue that others keep full is not a daemon that is not there."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(str(path))
        full.listen(0)
        held = []
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            held.append(client)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        with pytest.raises(PghotError, match="is flooded: nobody got in for 0"):
            ask(path, {"get": "status"}, timeout_s=0.05)
        for each in held:
            each.close()
