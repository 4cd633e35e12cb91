"""Requests to the daemon's socket: lines of a consumer, some damaged, in pieces. Each line gets one answer, the right
one where the line is whole; and an honest consumer is answered afterwards."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.harness import Silent
from pghot.daemon.answers import Answers
from pghot.daemon.consumers import LINE_BYTES, Server
from pghot.kernel.shortage import Shortages
from pghot.live.hot import By, Hottest

NAME = "socket"
GUARD_S = 120.0
QUICK = 60
PAGES = 700
STATUS = {"schema": "pghot.status/1", "nothing_seen": []}


@dataclass
class Talk:
    """What a consumer says. `right`: for each line the answer that it must get, None where it is damaged."""

    place: Path
    pieces: list[bytes]
    right: list[dict[str, Any] | None]


def make(rng: random.Random, folder: Path) -> Talk:
    lines: list[bytes] = []
    right: list[dict[str, Any] | None] = []
    for _ in range(rng.randint(1, 6)):
        request, answer = _request(rng)
        line = json.dumps(request).encode()
        if rng.random() < 0.6:
            line, answer = _damaged(rng, request, line), None
        lines += [line, b"\n"]
        right.append(answer)
    said = b"".join(lines)
    if rng.random() < 0.2:
        said = said[:-1]  # the last line has no end
        right.pop()
    return Talk(folder, list(_pieces(rng, said)), right)


def _request(rng: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    if rng.random() < 0.3:
        return {"get": "status"}, dict(STATUS)
    top, by = rng.choice((1, 2, 20, 511, 512, 513, PAGES, 131072)), rng.choice(("page", "region"))
    hot = {"schema": "pghot.hot/1", "by": by, "nothing_seen": [], "hot": hottest(top, by).rows()}  # type: ignore[arg-type]
    return {"get": "hot", "top": top, "by": by}, hot


def _damaged(rng: random.Random, request: dict[str, Any], line: bytes) -> bytes:
    def changed(key: str, value: Any) -> bytes:
        return json.dumps({**request, key: value}).encode()

    at = rng.randrange(len(line))
    number = rng.choice((0, -1, 131073, 2**31, 2**63, 10**400, 1e308, 0.5, True, None, "20", [], {}))
    ways = [
        lambda: line[:at],
        lambda: line[:at] + bytes([rng.choice([c for c in range(256) if c != 10])]) + line[at + 1 :],
        lambda: line[:at] + rng.randbytes(rng.randint(1, 40)).replace(b"\n", b"") + line[at:],
        lambda: changed("top", number),
        lambda: changed(rng.choice(("get", "by", "form", "x", "top ", "\0", "\ud800")), number),
        # Not one that is right: its answers would come again and again.
        lambda: changed("every_ms", rng.choice((-1, 2**31, 10**400, 0.5, True, None, "20", [], {}))),
        lambda: changed("get", rng.choice(("all", "", "status\0", "hot" * 999, "\udcff"))),
        lambda: b"[" * rng.choice((10, 100_00, LINE_BYTES - 1)),
        lambda: b'{"get":' * rng.choice((10, 9000)),
        lambda: b'{"get": "hot", "top": ' + b"9" * rng.choice((20, 5000, 60_000)) + b"}",
        lambda: b"x" * rng.choice((LINE_BYTES - 2, LINE_BYTES, LINE_BYTES + 1, 4 * LINE_BYTES)),
        lambda: rng.randbytes(rng.randint(0, 300)).replace(b"\n", b""),
        lambda: b"\xef\xbb\xbf" + line,
        lambda: line.decode().encode("utf-16").replace(b"\n", b""),
    ]
    return rng.choice(ways)()


def _pieces(rng: random.Random, said: bytes) -> Iterator[bytes]:
    while said:
        size = rng.choice((1, 7, 100, 65536, len(said)))
        yield said[:size]
        said = said[size:]
        if len(said) > 100_000:
            yield said
            return


def hottest(top: int, by: By) -> Hottest:
    """`PAGES` rows at most."""
    of_all = np.arange(min(top, PAGES), dtype=np.uint32)
    return Hottest(of_all.astype(np.int32), of_all.astype(np.uint64), of_all, of_all.astype(np.int16), of_all)


def check(made: Talk) -> str:
    return asyncio.run(_talk(made))


async def _talk(made: Talk) -> str:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    server = Server(Answers(lambda: STATUS, hottest), Shortages())  # type: ignore[arg-type,return-value]
    server.within(1e9)
    path = made.place / "s"
    server.open(path)
    try:
        answers, broken = await asyncio.wait_for(_say(path, made.pieces), GUARD_S)
        honest, _ = await asyncio.wait_for(_say(path, [b'{"get": "status"}\n']), GUARD_S)
    finally:
        server.close()
        await asyncio.sleep(0)
    if problems:
        raise problems[0].get("exception") or RuntimeError(problems[0]["message"])
    if honest != [STATUS]:
        raise Silent(f"an honest consumer was told {honest}")
    return _judged(made.right, answers, broken or server.dropped > 0)


async def _say(path: Path, pieces: list[bytes]) -> tuple[list[Any], bool]:
    """What was answered, and whether the connection broke off."""
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 24)
    broken = False
    answers: list[Any] = []
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except (ConnectionError, RuntimeError, OSError):
        broken = True
    try:
        while line := await reader.readline():
            answers.append(json.loads(line))
            if "bytes" in answers[-1]:
                await reader.readexactly(answers[-1]["bytes"])
            if len(answers) > 100:  # one of the lines asked for answers again and again
                broken = True
                break
    except (ConnectionError, asyncio.IncompleteReadError):
        broken = True
    writer.close()
    return answers, broken


def _judged(right: list[dict[str, Any] | None], answers: list[Any], broken: bool) -> str:
    if len(answers) > len(right) and not broken:
        raise Silent(f"{len(answers)} answers to {len(right)} lines")
    if len(answers) < len(right) and not broken:
        raise Silent(f"only {len(answers)} answers to {len(right)} lines")
    refused = broken
    for wanted, answer in zip(right, answers, strict=False):
        known = isinstance(answer, dict) and {"schema", "error", "bytes"} & answer.keys()
        if not known:
            raise Silent(f"an answer that is none: {str(answer)[:200]}")
        if wanted is not None and answer != wanted:
            raise Silent(f"a wrong answer to a good line: {str(answer)[:200]}")
        refused = refused or "error" in answer
    return "refused" if refused else "accepted"
