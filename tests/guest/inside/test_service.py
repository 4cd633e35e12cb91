"""The daemon with the kernel behind it: it promotes, tells its consumers, and puts everything back on SIGTERM."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from helpers import Pghot, Program, knobs, pghot, wait_until

pytestmark = pytest.mark.two_tiers


def test_the_daemon_promotes_and_sigterm_puts_everything_back(tmp_path: Path) -> None:
    before = knobs()
    socket, journal = tmp_path / "pghot.sock", tmp_path / "daemon.pghot-journal"
    config = tmp_path / "pghot.toml"
    with Program(128, 0.25, 1) as program:
        config.write_text(
            f"""
apply = true
[targets]
pids = [{program.pid}]
[service]
socket = "{socket}"
metrics = ""
journal = "{journal}"
max_cpu_percent = 400
"""
        )
        with Pghot("daemon", "-c", str(config)) as daemon:
            assert wait_until(lambda: program.on(0).hot >= 0.95, 120) is not None, daemon.said()
            code, out, err = pghot("status", "--socket", str(socket), "--json")
            assert code == 0, err
            assert json.loads(out)["moves"]["promoted_pages"] > 0
            code, out, err = pghot("hot", "--socket", str(socket), "--by", "page", "--top", "1000", "--json")
            hot = {row["address"] for row in json.loads(out)["hot"] if row["pid"] == program.pid}
            touched = set(program.address[program.hot()].tolist())
            assert len(hot & touched) >= 0.95 * len(hot)
            assert knobs() != before
            code, out, err = daemon.finish(signal.SIGTERM)
        assert code == 0, err
        assert (program.nodes() == 1).all()
        assert knobs() == before
        assert not journal.exists()
        assert not socket.exists()
