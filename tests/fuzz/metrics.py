"""Bytes to the metrics' port: requests of HTTP, some damaged, in pieces. What is answered as metrics is all of them,
and an honest scrape is answered afterwards."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz.harness import Silent
from pghot.daemon.scrapes import HEAD_BYTES, Metrics
from pghot.kernel.shortage import Shortages

NAME = "metrics"
GUARD_S = 120.0
QUICK = 60
FACTS: dict[str, Any] = {
    "sources": [{"name": "faults", "counters": {"pghot_sightings": 5}}],
    "mode": "apply", "budget": {"effort": 0.25}, "programs": [], "groups": [], "rounds": 23, "rounds_late": 2,
    "reload_accepted": True, "journal_bytes": 0, "moves": {"failed": {"EBUSY": 5}}, "degraded": [],
    "counters": {"pgpromote_success": 3}, "nodes": [],
}  # fmt: skip
FORMS = (
    b"*/*",
    b"text/plain; version=0.0.4",
    b"application/openmetrics-text; version=1.0.0",
    b"text/plain;version=1.0.0;escaping=values",
)
HEADS = (b"Host: a", b"Accept-Encoding: gzip", b"User-Agent: Prometheus/3", b"Connection: keep-alive")


@dataclass
class Bytes:
    """What comes to the port. `good`: it is a request that must be answered by metrics."""

    pieces: list[bytes]
    good: bool


def make(rng: random.Random, folder: Path) -> Bytes:
    target = rng.choice((b"/metrics", b"/", b"/metrics?name[]=a", b"http://a/metrics"))
    lines = [b"GET " + target + b" HTTP/1." + rng.choice((b"0", b"1"))]
    lines += [*rng.sample(HEADS, rng.randint(0, len(HEADS))), b"Accept: " + rng.choice(FORMS)]
    good = rng.random() < 0.3
    if not good:
        _damage(rng, lines)
    said = b"\r\n".join(lines) + b"\r\n\r\n"
    if not good and rng.random() < 0.3:
        at = rng.randrange(len(said))
        said = rng.choice(
            (said[:at], said[:at] + rng.randbytes(rng.randint(1, 30)) + said[at:], said.replace(b"\r", b""))
        )
    cut = sorted(rng.sample(range(len(said) + 1), min(len(said), rng.randint(0, 4))))
    return Bytes([said[a:b] for a, b in zip([0, *cut], [*cut, len(said)], strict=True)], good)


def _damage(rng: random.Random, lines: list[bytes]) -> None:
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        line = lines[at]
        where = rng.randrange(len(line) + 1)
        lines[at] = rng.choice(
            (
                line[:where] + bytes([rng.randrange(256)]) + line[where:],
                line[:where] + b"\x00" * rng.randint(1, 9) + line[where:],
                line.replace(b" ", rng.choice((b"", b"\t", b"  ", b"\x85", b"\x1c"))),
                line.replace(b"1.", rng.choice((b"9", b"1.1.", b"-1.", b"99999999999999."))),
                line.replace(
                    b"GET", rng.choice((b"POST", b"HEAD", b"get", b"<script>", b"\xff", b"G" * 9000))
                ),
                line.replace(b":", rng.choice((b"", b"::", b" :", b":" * 500))),
                line + rng.choice((b";q=", b";q=1e999", b";version=\xff", b"," * 3000, b";q=0.1,*/*;q=nan")),
                rng.randbytes(rng.randint(0, 200)),
                b"a: b",
                b" folded",
                b"Content-Length: " + rng.choice((b"-1", b"9" * 5000, b"1e9")),
                b"Expect: 100-continue",
                b"Accept: " + b"application/openmetrics-text;version=" * rng.randint(1, 50),
                b"x" * HEAD_BYTES,
            )
        )
        if rng.random() < 0.05:
            lines += [b"a: b"] * rng.choice((99, 101, 1000))


def check(made: Bytes) -> str:
    return asyncio.run(_scrape(made))


async def _scrape(made: Bytes) -> str:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    metrics = Metrics("127.0.0.1:0", lambda: FACTS, Shortages())
    assert metrics._door._listening is not None
    port = metrics._door._listening.getsockname()[1]
    try:
        answer = await asyncio.wait_for(_say(port, made.pieces), GUARD_S)
        honest = await asyncio.wait_for(_say(port, [b"GET / HTTP/1.1\r\n\r\n"]), GUARD_S)
    finally:
        metrics.close()
        await asyncio.sleep(0)
    if problems:
        raise problems[0].get("exception") or RuntimeError(problems[0]["message"])
    if not honest.startswith(b"HTTP/1.0 200") or not _whole(honest):
        raise Silent(f"an honest scrape was told {honest[:200]!r}")
    if answer.startswith((b"HTTP/1.0 200", b"HTTP/1.1 100")) or b"pghot_" in answer.partition(b"\r\n\r\n")[2]:
        if not _whole(answer) and not answer.endswith(b"\r\n\r\n"):  # to HEAD there is no body
            raise Silent(f"some of the metrics: {answer[-200:]!r}")
        return "accepted"
    if made.good:
        raise Silent(f"a good request was told {answer[:200]!r}")
    if b"<script>" in answer.partition(b"\r\n\r\n")[2]:
        raise Silent("what was asked is in the page as it was")
    return "refused"


def _whole(answer: bytes) -> bool:
    return b"pghot_build_info{" in answer and b"pghot_pgpromote_success_pages_total 3.0" in answer


async def _say(port: int, pieces: list[bytes]) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except (ConnectionError, RuntimeError, OSError):
        pass
    try:
        while some := await reader.read(1 << 16):
            found += some
    except ConnectionError:
        pass
    writer.close()
    return found
