"""What a study asks for, and what is refused before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.plugged import install
from pghot.cli.main import run
from pghot.errors import UsageError
from pghot.lab.sweep.cell import Cell
from pghot.lab.sweep.study import cells_of, read_study


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def cells(path: Path, text: str) -> list[Cell]:
    return cells_of(read_study(written(path / "study.toml", text)))


def test_the_cells_are_every_combination_the_first_seed_first(tmp_path: Path) -> None:
    found = cells(
        tmp_path,
        """
        recordings = ["workload:gups", "workload:zipf"]
        tiers = ["dram-cxl", "dram-cxl-switched"]
        shares = ["5%..15%", 0.5, "as-file"]
        stands_for = ["32GiB", "16x"]
        seeds = 2
        first_seed = 7
        """,
    )
    shares = (0.05, 0.1, 0.15, 0.5, None)
    assert [cell.setting.first_seed for cell in found] == [7] * 40 + [8] * 40
    assert [cell.point.fast_share for cell in found[:5]] == list(shares)
    assert {(cell.setting.stands_for, cell.setting.times) for cell in found} == {
        (32 * 2**30, None),
        (None, 16),
    }
    assert len({cell.key for cell in found}) == 80


def test_what_the_study_calls_things_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for name in ("a.toml", "other/b.toml"):
        written(tmp_path / name, 'kind = "zipf"\nfootprint = "1 MiB"\n')
    first, second = (
        cells(
            tmp_path,
            f'recordings = "workload:{tmp_path}/{name}"\nshares = {share}\nseeds = 1\npolicies = {policies}',
        )[0]
        for name, share, policies in (
            ("a.toml", '"20%"', '["none", "numab2"]'),
            ("other/b.toml", "0.2", '["numab2", "none"]'),
        )
    )
    assert first.key == second.key


@pytest.mark.parametrize(
    "changed",
    [
        'recordings = "workload:zipf"',
        'tiers = "dram-cxl-switched"',
        'shares = "21%"',
        'stands_for = "33GiB"',
        "first_seed = 1",
        'policies = ["none"]',
        'sources = ["abit"]',
        'set = ["pghot-default.freq_threshold=3"]',
        'classes = ["to-come"]',
        '[setting]\nduration = "9s"',
    ],
)
def test_every_input_is_part_of_the_key(tmp_path: Path, changed: str) -> None:
    base = {
        "recordings": '"workload:gups"',
        "tiers": '"dram-cxl"',
        "shares": '"20%"',
        "stands_for": '"32GiB"',
        "policies": '["pghot-default"]',
        "sources": '["hintfaults"]',
        "seeds": "1",
    }
    key, _, value = changed.partition(" = ")
    text = "\n".join(f"{name} = {given}" for name, given in base.items())
    other = "\n".join(f"{name} = {given}" for name, given in ({**base, key: value}).items())
    if key == "policies":
        other = "\n".join(line for line in other.splitlines() if not line.startswith("sources"))
    assert cells(tmp_path, text)[0].key != cells(tmp_path, other)[0].key


def test_a_file_of_tiers_counts_with_what_it_says(tmp_path: Path) -> None:
    from pghot.documents import shipped_text

    text = f'recordings = "workload:gups"\nseeds = 1\ntiers = "{tmp_path}/mine.toml"'
    plain = shipped_text("tiers", "dram-cxl")
    keys = []
    for content in (plain, f"# mine\n{plain}", plain.replace("latency_ns = ", "latency_ns = 1", 1)):
        written(tmp_path / "mine.toml", content)
        keys.append(cells(tmp_path, text)[0].key)
    assert keys[0] == keys[1] != keys[2]


REFUSED = [
    ('recordings = "workload:gups"\nsharez = "20%"', "study.toml:2: sharez: unknown key"),
    ("recordings = []", "recordings: the axis is empty"),
    ('recordings = "workload:gups"\ntiers = []', "tiers: the axis is empty"),
    ("", "recordings: Field required"),
    ('recordings = "workload:gups"\nseeds = 0', "study.toml:2: seeds"),
    ('recordings = "workload:gups"\nseeds = 1000000000', "the study has 1,000,000,000 cells"),
    ('recordings = "workload:nope"', "unknown workload 'nope'"),
    ('recordings = "bundled:nope"', "unknown bundled recording 'nope'"),
    ('recordings = "nowhere.pghot"', "no recording "),
    ('recordings = "workload:gups"\ntiers = "nope"', "unknown tiers 'nope'"),
    ('recordings = "workload:gups"\nshares = "120%"', "'120%' is not a share"),
    ('recordings = "workload:gups"\nstands_for = "much"', "'much' is not a size"),
    ('recordings = "workload:gups"\nstands_for = ""', "'' is not a size"),
    ('recordings = "workload:gups"\nstands_for = "nanx"', "'nanx' is no multiple"),
    ('recordings = "workload:gups"\npolicies = "nope"', "unknown policy 'nope'"),
    ('recordings = "workload:gups"\nsources = "nope"', "unknown source 'nope'"),
    ('recordings = "workload:gups"\nset = "numab2.nope=1"', "unknown option of 'numab2' 'nope'"),
    (
        'recordings = "workload:gups"\npolicies = "none"\nset = "numab2.a=1"',
        "'numab2' is not part of this run",
    ),
    ('recordings = "workload:gups"\n[setting]\nfolio = "3KiB"', "a folio (--folio) of 3072 bytes"),
    ('recordings = "workload:gups"\n[setting]\nduration = "long"', "'long' is not a duration"),
    ('recordings = "workload:gups"\n[setting]\nseeds = 3', "setting.seeds: unknown key"),
    ("recordings = 3", "no recording "),
    ("recordings = [true]", "recordings.0: "),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_wrong_is_named_before_anything_is_computed(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sweep", str(written(tmp_path / "study.toml", text))]) == 2
    out, err = capsys.readouterr()
    error, hint = err.splitlines()
    assert message in error
    assert hint.startswith("hint: ")
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read study"):
        read_study(tmp_path / "none.toml")


def test_the_code_of_a_plugged_policy_is_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = "from pghot.sim.policies.all_slow import AllSlow\n\n\nclass Mine(AllSlow):\n    name = 'mine'\n"
    text = 'recordings = "workload:gups"\npolicies = ["none", "mine"]\nseeds = 1'
    keys = []
    for number, source in enumerate((policy, policy, f"{policy}    changed = True\n")):
        place = tmp_path / f"{number}"
        place.mkdir()
        with monkeypatch.context() as patched:
            install(place, patched, {"pghot.policies": {"mine": "plugged_mine:Mine"}}, plugged_mine=source)
            keys.append(cells(tmp_path, text)[0].key)
    assert keys[0] == keys[1] != keys[2]
