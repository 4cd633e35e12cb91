"""What ships for Prometheus and Grafana, in Prometheus itself: rules that fire and rest, queries that are answered."""

from __future__ import annotations

import json
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from debian import CannotFetchError, fetch, release
from suites import in_turn
from vm import CACHE

from builders.daemon_process import Daemon, daemon, free_port, port, tracked
from waiting import GUARD_S, until

__all__ = ["daemon", "port", "tracked"]  # fixtures

SHIPPED = resources.files("pghot").joinpath("data/service")
RULES = str(SHIPPED.joinpath("pghot-alerts.yml"))


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder with Debian's prometheus and promtool, unpacked once and never installed."""
    place = CACHE / "prometheus"
    with in_turn("lock-prometheus"):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                made = Path(scratch, "made")
                try:
                    fetch((release(),), ("prometheus",), made, ["./usr/bin/prom*"])
                except CannotFetchError as lack:
                    pytest.skip(f"no Prometheus: {lack}")
                made.rename(place)
    return place / "usr/bin"


@dataclass(frozen=True, slots=True)
class Alert:
    """Series, in the notation of `promtool test rules`, under which a rule fires, and such under which it rests."""

    fires: dict[str, str]
    rests: dict[str, str]
    labels: dict[str, str]  # of the alert
    name: str


HOST = {"instance": "a"}
ALERTS = (
    Alert({}, {'pghot_build_info{instance="a",version="1"}': "1x60"}, {}, "PghotAbsent"),
    Alert(
        {'pghot_degraded_states{instance="a",part="knobs"}': "1x60"},
        {'pghot_degraded_states{instance="a",part="knobs"}': "0x60"},
        {**HOST, "part": "knobs"},
        "PghotDegraded",
    ),
    Alert(
        {'pghot_last_reload_accepted{instance="a"}': "0x60"},
        {'pghot_last_reload_accepted{instance="a"}': "1x60"},
        HOST,
        "PghotReloadRefused",
    ),
    Alert(
        {'pghot_tracked_programs{instance="a"}': "0x60"},
        {'pghot_tracked_programs{instance="a"}': "0x20 1x40"},
        HOST,
        "PghotTracksNothing",
    ),
    Alert(
        {'pghot_effort_ratio{instance="a"}': "0.09x60"},
        {'pghot_effort_ratio{instance="a"}': "0.1x60"},
        HOST,
        "PghotEffortLow",
    ),
    Alert(  # of 100 sightings a minute six are lost, or four
        {
            'pghot_hwhint_dropped_events_total{instance="a",source="faults"}': "0+6x60",
            'pghot_sightings_total{instance="a",source="faults"}': "0+100x60",
        },
        {
            'pghot_hwhint_dropped_events_total{instance="a",source="faults"}': "0+4x60",
            'pghot_sightings_total{instance="a",source="faults"}': "0+100x60",
        },
        {**HOST, "source": "faults"},
        "PghotLosesEvents",
    ),
    Alert(  # of 100 promotions a minute 60 are of demoted pages, or 40
        {
            'pghot_pingpong_pages_total{instance="a"}': "0+60x60",
            'pghot_pgpromote_success_pages_total{instance="a"}': "0+100x60",
        },
        {
            'pghot_pingpong_pages_total{instance="a"}': "0+40x60",
            'pghot_pgpromote_success_pages_total{instance="a"}': "0+100x60",
        },
        HOST,
        "PghotPingPong",
    ),
    Alert(  # two errors add up
        {
            'pghot_moves_failed_pages_total{instance="a",errno="EBUSY"}': "0+30x60",
            'pghot_moves_failed_pages_total{instance="a",errno="ENOMEM"}': "0+30x60",
            'pghot_pgmigrate_success_pages_total{instance="a"}': "0+50x60",
        },
        {
            'pghot_moves_failed_pages_total{instance="a",errno="EBUSY"}': "0+30x60",
            'pghot_pgmigrate_success_pages_total{instance="a"}': "0+50x60",
        },
        HOST,
        "PghotMovesFail",
    ),
    Alert(
        {'pghot_journal_bytes{instance="a"}': str((512 << 20) + 1) + "x60"},
        {'pghot_journal_bytes{instance="a"}': str(512 << 20) + "x60"},
        HOST,
        "PghotJournalLarge",
    ),
)
AFTER = "45m"


def shipped_rules() -> dict[str, str]:
    """The summary of each rule."""
    (group,) = yaml.safe_load(Path(RULES).read_text())["groups"]
    return {rule["alert"]: rule["annotations"]["summary"] for rule in group["rules"]}


def test_every_rule_has_its_example() -> None:
    assert [each.name for each in ALERTS] == list(shipped_rules())


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_a_rule_fires_when_it_should_and_only_then(alert: Alert, programs: Path, tmp_path: Path) -> None:
    summary = shipped_rules()[alert.name]
    for name, value in alert.labels.items():
        summary = summary.replace(f"{{{{ $labels.{name} }}}}", value)
    fired = {"exp_labels": alert.labels, "exp_annotations": {"summary": summary}}

    def case(series: dict[str, str], expected: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": AFTER, "alertname": alert.name, "exp_alerts": expected}],
        }

    (tmp_path / "test.yml").write_text(
        json.dumps(
            {
                "rule_files": [RULES],
                "evaluation_interval": "1m",
                "tests": [case(alert.fires, [fired]), case(alert.rests, [])],
            }
        )
    )
    command = [programs / "promtool", "test", "rules", tmp_path / "test.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """A Prometheus that asks the daemon each second, with the rules that ship."""

    def __init__(self, programs: Path, place: Path, daemon_port: int) -> None:
        self._address = f"127.0.0.1:{free_port()}"
        (place / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [RULES],
                    "scrape_configs": [
                        {
                            "job_name": "pghot",
                            "static_configs": [{"targets": [f"127.0.0.1:{daemon_port}"]}],
                        }
                    ],
                }
            )
        )
        self.log = place / "prometheus.log"
        self.process = subprocess.Popen(
            [
                programs / "prometheus",
                f"--config.file={place / 'prometheus.yml'}",
                f"--storage.tsdb.path={place / 'data'}",
                f"--web.listen-address={self._address}",
            ],
            stderr=self.log.open("w"),
        )

    def ask(self, what: str, **words: str) -> Any:
        """The data of an answer of its API."""
        url = f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=GUARD_S) as answer:
            facts = json.load(answer)
        assert facts["status"] == "success"
        return facts["data"]

    def value(self, query: str) -> list[Any]:
        """The series that answer a query now; none before it serves."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            found: list[Any] = self.ask("query", query=query)["result"]
        except urllib.error.HTTPError as error:
            if error.code != 503:  # it is not ready
                raise
            return []
        except urllib.error.URLError:
            return []
        return found


@pytest.fixture
def prometheus(programs: Path, daemon: Daemon, port: int, tmp_path: Path) -> Iterator[Prometheus]:
    place = tmp_path / "prometheus"
    place.mkdir()
    found = Prometheus(programs, place, port)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait()


def test_every_query_of_the_dashboard_has_an_answer(prometheus: Prometheus) -> None:
    """From a running daemon. It moves nothing and a recording loses nothing: of failures and losses there are none."""
    board = json.loads(SHIPPED.joinpath("pghot-dashboard.json").read_text("utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(queries) > 10
    for query in queries:
        asked = query.replace("$instance", ".*").replace("$__rate_interval", "1m")
        assert "$" not in asked
        if "pghot_moves_failed" in query or "pghot_hwhint_dropped" in query:
            assert prometheus.value(asked) == []
        else:
            until(lambda asked=asked: prometheus.value(asked), asked, prometheus.log.read_text)


def test_every_rule_can_be_evaluated(prometheus: Prometheus) -> None:
    until(lambda: prometheus.value("pghot_build_info"), "a scrape", prometheus.log.read_text)

    def rules() -> list[dict[str, Any]]:
        (group,) = prometheus.ask("rules")["groups"]
        found: list[dict[str, Any]] = group["rules"]
        return found

    until(lambda: all(rule["health"] != "unknown" for rule in rules()), "the rules", rules)
    assert {rule["name"]: rule["health"] for rule in rules()} == dict.fromkeys(shipped_rules(), "ok")


def test_pages_that_came_again_are_set_beside_those_that_came(prometheus: Prometheus) -> None:
    """With other labels Prometheus would find no pairs, and the rule would never fire."""
    pairs = "pghot_pingpong_pages_total >= 0 and pghot_pgpromote_success_pages_total >= 0"
    until(lambda: prometheus.value(pairs), "the pair", prometheus.log.read_text)
