"""The service's parts by themselves: budget, socket, metrics, notices, log."""

from __future__ import annotations

import asyncio
import grp
import json
import logging
import os
import re
import socket
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.scarcity import no_descriptors
from pghot.counters import COUNTERS
from pghot.daemon import consumers
from pghot.daemon.answers import Answers
from pghot.daemon.client import ask
from pghot.daemon.consumers import LINE_BYTES, Server
from pghot.daemon.logs import BURST, MOST_CHARACTERS, PER_S, Bounded, event, open_log, unexpected
from pghot.daemon.notify import Manager
from pghot.daemon.prometheus import families, metric_name
from pghot.daemon.scrapes import Metrics
from pghot.errors import NotPermittedError, PghotError, UsageError
from pghot.kernel.shortage import Shortages
from pghot.live.budget import CHECK_S, LOWEST_EFFORT, Budget
from pghot.live.hot import Hottest
from pghot.live.own_cost import OwnCost
from pghot.version import __version__
from waiting import GUARD_S

# ---- budget


@given(st.floats(0.1, 50), st.floats(0, 200), st.floats(0, 3))
def test_the_effort_settles_so_that_the_use_meets_the_budget(
    limit: float, full: float, fixed_share: float
) -> None:
    """A use that is partly fixed, partly in proportion to the effort."""
    fixed = min(limit * fixed_share / 4, limit / 2)
    budget = Budget(limit, 0)
    for _ in range(200):
        before = budget.effort
        changed = budget.judge(fixed + full * budget.effort)
        assert changed == (budget.effort != before)
        assert LOWEST_EFFORT <= budget.effort <= 1
    use = fixed + full * budget.effort
    # Below the budget, but not by more than the step back is wide; or at a bound.
    assert use <= limit * 1.0001 or budget.effort == LOWEST_EFFORT
    assert use >= limit / 1.26 - fixed or budget.effort == 1


def test_the_effort_falls_at_once_and_recovers_slowly() -> None:
    budget = Budget(10, 0)
    assert budget.judge(40)
    assert budget.effort == 0.25
    assert budget.judge(5)
    assert budget.effort == 0.3125
    assert not budget.judge(9)  # near the budget: stay
    for _ in range(20):
        budget.judge(1)
    assert budget.effort == 1
    assert not budget.judge(0)


def test_it_looks_every_few_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(10, 100)
    monkeypatch.setattr(budget._cost, "percent_since_last", lambda: 20.0)
    assert not budget.tick(100 + CHECK_S - 0.1)
    assert budget.tick(100 + CHECK_S)
    assert budget.cpu_percent == 20
    assert not budget.tick(100 + CHECK_S + 1)


def test_what_visitors_take_is_no_reason_to_look_at_programs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 % of 5 s were used, 15 % of it on visitors: 5 % count. The next time they took nothing."""
    budget = Budget(10, 100)
    monkeypatch.setattr(budget._cost, "percent_since_last", lambda: 20.0)
    budget.leave_out(0.5)
    budget.leave_out(0.25)
    assert not budget.tick(100 + CHECK_S)
    assert (budget.cpu_percent, budget.effort) == (5.0, 1.0)
    assert budget.tick(100 + 2 * CHECK_S)
    assert (budget.cpu_percent, budget.effort) == (20.0, 0.5)


def test_own_cost_counts_what_was_used() -> None:
    cost = OwnCost()
    while cost.total_s() < 0.02:
        sum(range(10_000))
    assert cost.percent_since_last() > 0


# ---- the socket

ROWS = Hottest(
    np.array([7, 8], np.int32), np.array([4096, 1 << 40], np.uint64), np.array([1, 2], np.uint32),
    np.array([1, -1], np.int16), np.array([9, 3], np.uint32),
)  # fmt: skip


def head(top: int, by: Literal["page", "region"]) -> Hottest:
    return Hottest(ROWS.pid[:top], ROWS.address[:top], ROWS.pages[:top], ROWS.node[:top], ROWS.heat[:top])


def server_of(status: dict[str, Any] | None = None) -> Server:
    facts: Any = {"schema": "pghot.status/1"} if status is None else status
    return Server(Answers(lambda: facts, head), Shortages())


def served(path: Path, talk: Callable[[Server], Awaitable[Any]], status: dict[str, Any] | None = None) -> Any:
    """Serve at `path` while `talk` runs."""

    async def main() -> Any:
        server = server_of(status)
        server.open(path)
        try:
            return await talk(server)
        finally:
            server.close()

    return asyncio.run(main())


def asked(path: Path, *requests: dict[str, Any]) -> list[tuple[dict[str, Any], bytes]]:
    async def talk(server: Server) -> list[tuple[dict[str, Any], bytes]]:
        return [await asyncio.to_thread(ask, path, request, GUARD_S) for request in requests]

    found: list[tuple[dict[str, Any], bytes]] = served(path, talk)
    return found


def test_answers_of_each_form(tmp_path: Path) -> None:
    status, page, arrow = asked(
        tmp_path / "s",
        {"get": "status"},
        {"get": "hot", "top": 1, "by": "page"},
        {"get": "hot", "form": "arrow"},
    )
    assert status == ({"schema": "pghot.status/1"}, b"")
    assert page[0] == {
        "schema": "pghot.hot/1",
        "by": "page",
        "hot": [{"pid": 7, "address": 4096, "bytes": 4096, "node": 1, "heat": 9}],
        "nothing_seen": [],
    }
    assert arrow[0] == {"bytes": len(arrow[1])}
    assert pa.ipc.open_stream(arrow[1]).read_all()["address"].to_pylist() == [4096, 1 << 40]


@pytest.mark.parametrize(
    "request_, what",
    [({"get": "all"}, "get"), ({"get": "hot", "top": 0}, "top"), ({"get": "hot", "x": 1}, "x"), ({}, "get")],
)
def test_wrong_requests_name_what_is_wrong(tmp_path: Path, request_: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=f"refused the request: {what}: "):
        asked(tmp_path / "s", request_)


async def raw(path: Path, data: bytes) -> list[bytes]:
    """What the server answers to these bytes until it closes or nothing comes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    writer.write_eof()
    lines = (await reader.read()).splitlines()
    writer.close()
    return lines


@given(st.binary(max_size=200))
def test_any_bytes_are_answered_by_errors_and_leave_the_server_well(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "s"

        async def talk(server: Server) -> None:
            for line in await raw(path, data):
                assert "error" in json.loads(line)
            assert await asyncio.to_thread(ask, path, {"get": "status"})

        served(path, talk)


def test_a_line_without_end_closes_the_connection(tmp_path: Path) -> None:
    async def talk(server: Server) -> list[bytes]:
        return await raw(tmp_path / "s", b"x" * (LINE_BYTES + 10))

    assert served(tmp_path / "s", talk) == []


def test_answers_that_repeat_until_the_consumer_leaves(tmp_path: Path) -> None:
    async def talk(server: Server) -> int:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b'{"get": "status", "every_ms": 1}\n')
        for _ in range(3):
            assert json.loads(await reader.readline())
        assert server.consumers == 1
        writer.close()
        while server.consumers:
            await asyncio.sleep(0.01)
        return server.dropped

    assert served(tmp_path / "s", talk) == 0


def test_a_consumer_that_does_not_read_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "TAKE_S", 0.05)

    async def talk(server: Server) -> None:
        _, writer = await asyncio.open_unix_connection(tmp_path / "s", limit=1024)
        writer.write(b'{"get": "status", "every_ms": 1}\n')
        while not server.dropped:
            await asyncio.sleep(0.01)
        while server.consumers:
            await asyncio.sleep(0.01)
        writer.close()

    served(tmp_path / "s", talk, {"filler": "x" * (1 << 20)})


def test_no_more_consumers_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "MOST_CONSUMERS", 2)

    async def talk(server: Server) -> bytes:
        held = []
        for number in (1, 2):
            held.append(await asyncio.open_unix_connection(tmp_path / "s"))
            while server.consumers < number:
                await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        answer = await reader.read()
        for _, each in [*held, (reader, writer)]:
            each.close()
        assert server.refused == 1
        return answer

    assert served(tmp_path / "s", talk) == b""


def test_a_socket_only_for_its_owner_in_a_directory_that_may_be_entered(tmp_path: Path) -> None:
    path = tmp_path / "run" / "pghot" / "s"

    async def talk(server: Server) -> tuple[int, int]:
        return path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777

    assert served(path, talk) == (0o600, 0o755)
    assert not path.exists()


def test_where_no_socket_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")

    async def nothing(server: Server) -> None:
        raise AssertionError

    with pytest.raises(UsageError, match="is not a socket"):
        served(tmp_path / "file", nothing)
    with pytest.raises(UsageError, match="cannot make the socket"):
        served(tmp_path / "file" / "s", nothing)
    with pytest.raises(UsageError, match="too long"):
        served(tmp_path / ("s" * 120), nothing)
    assert (tmp_path / "file").read_text() == "precious"

    async def no_group() -> None:
        server_of().open(tmp_path / "s", "no-such-group")

    with pytest.raises(UsageError, match="the group 'no-such-group'"):
        asyncio.run(no_group())


def test_a_second_server_is_refused_and_a_stale_socket_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def talk(server: Server) -> None:
        with pytest.raises(UsageError, match="listens at"):
            server_of().open(path)
        assert await asyncio.to_thread(ask, path, {"get": "status"})

    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    served(path, talk)


def test_asking_nobody_and_somebody_who_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no pghot daemon"):
        ask(tmp_path / "s", {"get": "status"})
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with pytest.raises(PghotError, match="gave no answer"):
            ask(tmp_path / "s", {"get": "status"}, timeout_s=0.05)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(NotPermittedError, match="not permitted to ask"):
        ask(tmp_path / "s", {"get": "status"})


@pytest.mark.parametrize(
    "answer, what",
    [
        (b"5\n", "no daemon of pghot's"),
        (b"[]\n", "no daemon of pghot's"),
        (b"{}\n", "no daemon of pghot's"),
        (b'{"bytes": "many"}\n', "no daemon of pghot's"),
        (b'{"bytes": 10}\nabc', "3 of 10 bytes came"),
    ],
)
def test_what_no_daemon_says_and_an_answer_that_breaks_off(tmp_path: Path, answer: bytes, what: str) -> None:
    """Half of an Arrow stream must not pass for all of it."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    async def main() -> None:
        async with await asyncio.start_unix_server(say, tmp_path / "s"):
            with pytest.raises(PghotError, match=f"gave no answer: .*{what}"):
                await asyncio.to_thread(ask, tmp_path / "s", {"get": "hot", "form": "arrow"})

    asyncio.run(main())


def test_a_socket_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not ask whether anybody listens there must not take the place of one who does."""

    def refuse(*_: object) -> None:
        raise PermissionError

    async def nothing(server: Server) -> None:
        raise AssertionError

    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / "s"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(NotPermittedError, match="not permitted to make the socket"):
        served(tmp_path / "s", nothing)
    assert (tmp_path / "s").is_socket()


def test_a_group_that_this_user_is_not_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = grp.getgrgid(os.getgid()).gr_name

    def refuse(*_: object) -> None:
        raise PermissionError

    async def main() -> None:
        with pytest.raises(NotPermittedError, match=f"to the group '{group}'"):
            server_of().open(tmp_path / "s", group)

    monkeypatch.setattr(os, "chown", refuse)
    asyncio.run(main())
    assert not (tmp_path / "s").exists()


# ---- metrics

FACTS: dict[str, Any] = {
    "sources": [{"name": "faults", "counters": {"pghot_sightings": 5, "numa_hint_faults": 4}}],
    "mode": "apply",
    "budget": {"effort": 0.25},
    "programs": [{"pid": 1, "name": "a"}, {"pid": 2, "name": "b"}],
    "groups": [],
    "rounds": 23,
    "rounds_late": 2,
    "reload_accepted": False,
    "journal_bytes": 4096,
    "moves": {"failed": {"EBUSY": 5, "ENOMEM": 6}},
    "degraded": [{"part": "faults", "problem": "one"}, {"part": "faults", "problem": "two"}],
    "counters": {"pgpromote_success": 3, "pghot_sections": 2, "numa_hint_faults": 1},
    "nodes": [{"node": 1, "capacity_bytes": 10, "free_bytes": 9, "floor_bytes": 8, "tracked_bytes": 7}],
}


def test_families_have_few_labels_and_one_meaning_each() -> None:
    found = {family.name: family for family in families(FACTS)}
    samples = {name: [(each.labels, each.value) for each in family.samples] for name, family in found.items()}
    assert samples["pghot_sightings"] == [({"source": "faults"}, 5)]
    assert samples["pghot_pgpromote_success_pages"] == [({}, 3)]
    assert [labels for name in found for labels, _ in samples[name] if "numa_hint" in name] == [
        {"source": "faults"}
    ]
    assert samples["pghot_node_free_bytes"] == [({"node": "1"}, 9)]
    # What is well is there too, so that an alert can tell it from a pghot that is gone.
    assert samples["pghot_degraded_states"] == [
        ({"part": "faults"}, 2),
        ({"part": "knobs"}, 0),
        ({"part": "targets"}, 0),
        ({"part": "demotion"}, 0),
        ({"part": "guests"}, 0),
        ({"part": "shortage"}, 0),
    ]
    assert all(family.documentation for family in found.values())
    assert samples["pghot_build_info"] == [({"version": __version__}, 1)]
    assert samples["pghot_moves_failed_pages"] == [({"errno": "EBUSY"}, 5), ({"errno": "ENOMEM"}, 6)]
    ((_, applies),) = samples["pghot_apply_enabled"]
    ((_, effort),) = samples["pghot_effort_ratio"]
    ((_, programs),) = samples["pghot_tracked_programs"]
    ((_, accepted),) = samples["pghot_last_reload_accepted"]
    ((_, journal),) = samples["pghot_journal_bytes"]
    ((_, rounds),) = samples["pghot_rounds"]
    ((_, late),) = samples["pghot_late_rounds"]
    assert (rounds, late) == (23, 2)
    assert (applies, effort, programs, accepted, journal) == (1, 0.25, 2, 0, 4096)


@pytest.mark.parametrize("name", ["pghot-alerts.yml", "pghot-dashboard.json"])
def test_what_ships_for_prometheus_and_grafana_asks_for_metrics_that_there_are(name: str) -> None:
    text = resources.files("pghot").joinpath("data/service", name).read_text("utf-8")
    told = {each.name + "_total" * (each.type == "counter") for each in families(FACTS)}
    known = told | {
        metric_name(counter) + "_total" * (counter.kind == "counter") for counter in COUNTERS.values()
    }
    asked = set(re.findall(r"\bpghot_[a-z0-9_]+", text))
    assert len(asked) > 8
    assert asked <= known


def test_the_dashboard_has_a_query_in_every_panel_and_each_its_place() -> None:
    board = json.loads(
        resources.files("pghot").joinpath("data/service/pghot-dashboard.json").read_text("utf-8")
    )
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert [each["name"] for each in board["templating"]["list"]] == ["datasource", "instance"]


def test_every_counter_has_a_name_of_its_own() -> None:
    names = [metric_name(counter) for counter in COUNTERS.values()]
    assert len(set(names)) == len(names)


def test_addresses_that_cannot_be_served() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="cannot serve metrics at 127"):
            Metrics(f"127.0.0.1:{taken.getsockname()[1]}", lambda: FACTS, Shortages())


# ---- notices and log


@pytest.mark.parametrize("abstract", [False, True])
def test_notices_reach_the_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    """Also when there is no descriptor left: a manager that hears nothing ends the daemon (WatchdogSec)."""
    name = f"pghot-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if abstract else str(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else str(tmp_path / "n"))
        told = Manager()
        told.tell("READY=1", "STATUS=well")
        assert manager.recv(100) == b"READY=1\nSTATUS=well"
        with no_descriptors():
            told.tell("WATCHDOG=1")
        assert manager.recv(100) == b"WATCHDOG=1"
        told.close()


def test_a_manager_that_does_not_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel queues few datagrams (net.unix.max_dgram_qlen); a blocking send would hang on the next."""
    address = str(tmp_path / "n")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        queued = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
        told = Manager()
        for _ in range(queued + 3):
            told.tell("WATCHDOG=1")
        assert manager.recv(100) == b"WATCHDOG=1"
        told.close()


def test_without_a_manager_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Manager().tell("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    nobody = Manager()
    nobody.tell("READY=1")
    nobody.close()


@pytest.mark.parametrize("form", ["json", "text"])
def test_events_are_one_line_each(capsys: pytest.CaptureFixture[str], form: Literal["json", "text"]) -> None:
    log = open_log(form)
    event(log, "ready", pid=7, text="two\nlines")
    (line,) = capsys.readouterr().err.splitlines()
    if form == "json":
        facts = json.loads(line)
        assert (facts["event"], facts["level"], facts["pid"], facts["text"]) == (
            "ready",
            "info",
            7,
            "two\nlines",
        )
        assert facts["time"].endswith("Z")
    else:
        assert line.startswith("pghot: info: ready pid=7")


def test_nobody_fills_a_disk_with_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """A name has its own measure, so that a flood of one does not hide the others."""
    log, now_s = open_log("json"), [100.0]
    (handler,) = log.handlers
    handler.filters = [Bounded(lambda: now_s[0])]
    for number in range(10_000):
        event(log, "degraded", number=number)
    event(log, "reloaded")
    now_s[0] += 2 / PER_S
    for number in range(3):
        event(log, "degraded", number=number)
    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [each["event"] for each in found] == ["degraded"] * BURST + ["reloaded"] + ["degraded"] * 2
    assert found[-2]["left_out_before"] == 10_000 - BURST
    assert "left_out_before" not in found[-1]


def test_what_libraries_say_and_what_nobody_expected_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Without tracebacks: 8 MB of them came in 45 s once."""
    log = open_log("json")
    try:
        raise ValueError("a" * 10_000)
    except ValueError as error:
        logging.getLogger("asyncio").error("two\nlines", exc_info=True)
        unexpected(log, {"message": "Exception in callback", "exception": error})
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (first["event"], first["level"]) == ("two\nlines", "error")
    assert second["event"] == "unexpected"
    assert second["error"].startswith("ValueError: aaa")
    assert len(second["error"]) <= MOST_CHARACTERS
    assert re.search(r"test_sockets_and_metrics\.py:\d+$", second["at"])
