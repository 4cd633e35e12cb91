"""Numbers as people write them, in all that is printed: no exponent, no minus before nothing, no "1 pages".

The text of every f-string of the renderers is looked through: what could go wrong there goes through `pghot.units`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pghot
from pghot.units import counted, format_number, format_share

SOURCE = Path(pghot.__file__).parent
RENDERERS = sorted([*(SOURCE / "report").rglob("*.py"), *(SOURCE / "cli").rglob("*.py")])
ROOMS = ("daemon", "lab", "live", "recording", "safety", "sim")
OTHERS = sorted(path for room in ROOMS for path in (SOURCE / room).rglob("*.py"))
THINGS = (
    "accesses|attacks|bytes|cells|cores|epochs|files|groups|lines|man pages|misses|nodes|pages|passes|processes|"
    "programs|regions|rows|runs|samples|sections|seeds|slices|steps|tenants|threads|touches|trials|windows|writes"
)
# Whole percents of work that is done, never below nothing; coordinates of a path.
EXACT = ("cli/progress.py", "report/sparkline.py")


def placeholders(code: str) -> Iterator[tuple[int, str, str, str]]:
    """(line, expression, its format, the literal text that follows) of each placeholder of the f-strings."""
    nodes = list(ast.walk(ast.parse(code)))
    read_back = {
        id(each) for node in nodes if isinstance(node, ast.Call) for each in node.args if _is_float(node)
    }
    for node in nodes:
        if not isinstance(node, ast.JoinedStr) or id(node) in read_back:
            continue
        for part, following in zip(node.values, [*node.values[1:], None], strict=True):
            if isinstance(part, ast.FormattedValue):
                form = "" if part.format_spec is None else ast.unparse(part.format_spec)[2:-1]
                text = following.value if isinstance(following, ast.Constant) else ""
                yield part.lineno, ast.unparse(part.value), form, str(text)


def _is_float(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "float"


def faults(code: str) -> list[str]:
    """What may print an exponent, a minus before nothing, or a wrong plural."""
    said = []
    for line, expression, form, text in placeholders(code):
        where = f"{line}: {expression}:{form}{text[:20]}"
        if form.endswith(("g", "e")):
            said.append(f"{where}: format_number has no exponent")
        if form.endswith("%") or (form.endswith(("f", "d")) and re.match(r" ?%", text)):
            said.append(f"{where}: format_share has no -0.0 %")
        if re.match(rf" (?:{THINGS})\b", text) or "(s)" in text or "(es)" in text:
            said.append(f"{where}: counted knows what one is")
    return said


@pytest.mark.parametrize(
    "code",
    [
        'f"{x:.3g} times"',
        'f"{x:.1f} %"',
        'f"{x:+.1f}%"',
        'f"{x:.0%} of it"',
        'f"{n} pages"',
        'f"{n:,} runs,"',
        'f"{n} seed(s)"',
    ],
)
def test_the_kinds_are_found(code: str) -> None:
    assert len(faults(code)) == 1


@pytest.mark.parametrize("path", RENDERERS, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_renderers_leave_numbers_to_units(path: Path) -> None:
    if path.relative_to(SOURCE).as_posix() not in EXACT:
        assert faults(path.read_text()) == []


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**62), 2**62)


@given(NUMBERS, st.integers(1, 9))
def test_a_number_has_no_exponent_and_is_near(value: float, digits: int) -> None:
    text = format_number(value, digits)
    assert re.fullmatch(r"-?\d{1,3}(,\d{3})*(\.\d*[1-9])?", text)
    assert text != "-0"
    assert abs(float(text.replace(",", "")) - value) <= max(abs(value) * 0.51 * 10 ** (1 - digits), 0.51e-12)


@given(st.floats(-1e6, 1e6), st.integers(0, 3), st.sampled_from(["", "+"]))
def test_a_share_that_is_nothing_has_no_sign(share: float, digits: int, sign: str) -> None:
    text = format_share(share, digits, sign)
    value = float(text.removesuffix(" %"))
    assert abs(value - 100 * share) <= 0.51 * 10**-digits + 1e-6
    assert (text[0] in "+-") == (value < 0 or (bool(sign) and value > 0))


@given(st.integers(0, 10**12))
def test_one_alone_is_singular(count: int) -> None:
    assert counted(count, "page") == f"{count:,} page" + ("" if count == 1 else "s")


def test_the_figures_that_were_seen() -> None:
    assert format_number(1_005_000.0, 3) == "1,005,000"  # was 1e+06, and 1.005e+06
    assert format_share(-0.0004) == "0.0 %"  # was -0.0 %
    assert counted(0.99999, "page") == "1 page"  # as it is shown


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_errors_and_notes_of_the_other_rooms_have_no_exponents(path: Path) -> None:
    assert [fault for fault in faults(path.read_text()) if "exponent" in fault] == []
