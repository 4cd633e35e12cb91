"""TOML files damaged as people and their programs damage them: a value, a key, a line, a byte."""

from __future__ import annotations

import random

from builders.damage import damaged_bytes

_DIGITS = ("9" * 25, "1" * 400, "7" * 5000, "0x" + "f" * 5000)
_NUMBERS = (
    *(
        "0",
        "1",
        "-1",
        "-0.0",
        "128",
        "4095",
        "65537",
        "255",
        "1e-320",
        "1e-9",
        "1e-3",
        "1e3",
        "1e12",
        "1e308",
    ),
    *(
        "-1e308",
        "1e400",
        "inf",
        "-inf",
        "nan",
        "9223372036854775807",
        "-9223372036854775808",
        "1_000",
        "0x7f",
    ),
    *("9223372036854775808", "0.1", "0.5", "1.5"),
)
_TEXTS = (
    *('""', '"x"', '"128"', '"128GiB"', '"1 MiB"', '"0 B"', '"-5 GiB"', '"4 EiB"', '"99999999 TiB"', '"1e5"'),
    *('"20%"', '"120%"', '"nan"', '"²"', '"٣ GiB"', '"a\\nb"', '"\\u001b[2J"', '"/dev/zero"', '"../x.toml"'),
    *("'''\na\n'''", '"none"', '"zipf"', '"1 ms"'),
)
_OTHERS = (
    *("true", "false", "[]", "{}", "[[]]", "[1, 2]", '["a", "b"]', "[1, 'a']", "{a = 1}", "{0 = -5.0}"),
    *("1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "[" * 3000 + "]" * 3000, "{0 = inf, 1 = 1e12}"),
)
_VALUES = (*_NUMBERS, *_NUMBERS, *_TEXTS, *_OTHERS, *_DIGITS)


def odd_toml_value(rng: random.Random) -> str:
    """The text of a value that seldom belongs where it is put."""
    return rng.choice(_VALUES)


def damaged_toml(rng: random.Random, text: str) -> str:
    """The document with one to three changes, most of them of values; sometimes of bytes, decoded as they come."""
    if rng.randrange(12) == 0:
        return damaged_bytes(rng, text.encode(), most=3).decode("utf-8", errors="surrogateescape")
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _damage_a_line(rng, lines)
    return "\n".join(lines) + "\n"


def _damage_a_line(rng: random.Random, lines: list[str]) -> None:
    settings = [at for at, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    if not settings:
        lines.append(f"x = {odd_toml_value(rng)}")
        return
    at = rng.choice(settings)
    key, _, value = lines[at].partition("=")
    match rng.randrange(10):
        case 0:
            del lines[at]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        case 2:
            other = rng.choice(
                ("", " ", "unknown", '"a\\nb"', '"²"', key.strip() + "s", "nodes.0.x", "x.y.z")
            )
            lines[at] = f"{other} = {value}"
        case 3:
            lines[at] = f"{key}= {lines[rng.choice(settings)].partition('=')[2]}"
        case 4:
            lines.insert(
                at,
                rng.choice(("[", "[[nodes]]", "[x]", "[costs]", "[nodes]", "]", "[[rows]]", "[options.x]")),
            )
        case _:
            lines[at] = f"{key}= {odd_toml_value(rng)}"
