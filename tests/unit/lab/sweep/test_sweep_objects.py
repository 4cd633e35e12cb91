"""A sweep over recordings in an object store, which moto serves on loopback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from builders.replicated import replicated, zipf_heat
from pghot.cli.main import run
from pghot.lab.sweep.inputs import recording_digest
from pghot.recording.reader import open_recording
from pghot.recording.writer import write_recording

moto_server = pytest.importorskip("moto.server", reason="moto with its server is not installed")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[pafs.FileSystem]:
    """An empty bucket, `recordings`; this process and those that it starts find it by the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        store = pafs.S3FileSystem(
            endpoint_override=f"{host}:{port}", scheme="http", allow_bucket_creation=True
        )
        store.create_dir("recordings")
        yield store
    finally:
        server.stop()


def study(path: Path, recording: str) -> str:
    path.write_text(
        f'recordings = "{recording}"\npolicies = "none"\nseeds = 2\n[setting]\nduration = "one-pass"\n'
    )
    return str(path)


def test_recordings_in_an_object_store(
    bucket: pafs.FileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.pghot"
    write_recording(path, replicated(zipf_heat(256), 1, slices=20, misses=20_000))
    with bucket.open_output_stream("recordings/a.pghot") as file:
        file.write(path.read_bytes())
    there = "s3://recordings/a.pghot"
    assert open_recording(there).seal == open_recording(path).seal
    assert recording_digest(there) == recording_digest(str(path))
    words = [study(tmp_path / "s.toml", there), "-o", str(tmp_path / "cells"), "--json"]
    assert run(["sweep", *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["computed"], facts["points"][0]["recording"]) == (2, there)
    # A copy on disk is the same recording: its cells are there.
    words[0] = study(tmp_path / "t.toml", str(path))
    assert run(["sweep", *words]) == 0
    assert json.loads(capsys.readouterr().out)["there"] == 2


@pytest.mark.parametrize("address", ["s3://recordings/none.pghot", "s3://nowhere/a.pghot"])
def test_an_object_that_is_not_there(
    address: str, bucket: pafs.FileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sweep", study(tmp_path / "s.toml", address)]) == 2
    out, err = capsys.readouterr()
    error, hint = err.splitlines()
    assert error.startswith("pghot: error: ")
    assert address in error
    assert hint.startswith("hint: check ")
    assert out == ""
