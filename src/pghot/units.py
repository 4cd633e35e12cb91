"""Units as people write them, parsed and printed in one place.

Sizes are binary: 1 GiB = 2**30 bytes, and a bare K, M, G or T means the binary unit too, as on the kernel's command
line. Durations are decimal. Shares are fractions of one.
"""

from __future__ import annotations

import math
import re

from pghot.errors import UsageError, shortened

PAGE_BYTES = 4096
LINE_BYTES = 64

_SIZE = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TIME_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
_MOST = 2**62  # bytes, ns or bytes/s: sums of two still fit an int64


def parse_size(text: str | int) -> int:
    """Bytes from "64 MiB", "64M", "4096". Raises `UsageError` for anything else or a negative size.

    >>> parse_size("1.5 GiB")
    1610612736
    """
    if isinstance(text, int) and not isinstance(text, bool):
        if text < 0:
            raise UsageError(f"size {text} is negative", "write a size such as '64 MiB'")
        return int(_possible(text, str(text), "4 EiB"))
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", str(text).lower())
    if match is None:
        raise UsageError(
            f"'{shortened(str(text))}' is not a size", "write a size such as '64 MiB', '512K' or '4096'"
        )
    if "." in match[1] and not match[2]:
        raise UsageError(f"'{shortened(str(text))}' is no whole number of bytes", "write one, or a unit")
    return int(_possible(float(match[1]) * _SIZE[match[2]], str(text), "4 EiB"))


def parse_size_or_times(text: str) -> tuple[float | None, float | None]:
    """Bytes, or a multiple: what "100GiB" or "16x" says. Raises `UsageError` for anything else.

    >>> parse_size_or_times("1 GiB"), parse_size_or_times("16x")
    ((1073741824.0, None), (None, 16.0))
    """
    if not text.endswith("x"):
        return float(parse_size(text)), None
    try:
        times = float(text[:-1])
    except ValueError:
        times = math.nan
    if not math.isfinite(times):
        raise UsageError(
            f"'{shortened(text)}' is no multiple (--stands-for)", "give one such as 16x, or a size"
        )
    return None, times


def _possible(value: float, text: str, most: str) -> float:
    """`value`, unless it is too large for this program to compute with. Raises `UsageError` then."""
    if value <= _MOST:
        return value
    raise UsageError(f"'{shortened(text)}' is too much", f"give at most {most}")


def parse_duration_ns(text: str) -> int:
    """Nanoseconds from "1 ms", "100us", "2 s". Raises `UsageError` for anything else.

    >>> parse_duration_ns("1.5 ms")
    1500000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ns|us|ms|s|min)\s*", str(text).lower())
    if match is None:
        raise UsageError(
            f"'{shortened(str(text))}' is not a duration", "write a duration such as '1 ms', '100us' or '2 s'"
        )
    return int(_possible(float(match[1]) * _TIME_NS[match[2]], str(text), "100 years"))


def parse_share(text: str) -> float:
    """A fraction from "20%" or "0.2". Raises `UsageError` outside [0, 1].

    >>> parse_share("20%")
    0.2
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", str(text))
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"'{shortened(str(text))}' is not a share", "write a share such as '20%' or '0.2'")
    return value


_LADDER = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def parse_shares(text: str) -> list[float]:
    """Fractions, ascending, from "20%", "5%,20%,50%", or a range such as "5%..80%": its ends and round shares between.

    Raises `UsageError` for anything else.

    >>> parse_shares("5%..20%")
    [0.05, 0.1, 0.15, 0.2]
    """
    low, dots, high = text.partition("..")
    if not dots:
        return sorted({parse_share(word) for word in text.split(",")})
    first, last = parse_share(low), parse_share(high)
    if first >= last:
        raise UsageError(f"'{text}' is no range of shares", "write the smaller one first, as in '5%..80%'")
    return [first, *(share for share in _LADDER if first < share < last), last]


def parse_rate_gb_s(text: str) -> float:
    """10**9 bytes/s from "2GB/s", "500 MB/s", "1 GiB/s". Raises `UsageError` for anything else.

    >>> parse_rate_gb_s("500 MB/s")
    0.5
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])(i?)b/s\s*", text.lower())
    if match is None:
        raise UsageError(
            f"'{shortened(text)}' is not a rate", "write a rate such as '2GB/s', '500 MB/s' or '1GiB/s'"
        )
    unit = _SIZE[match[2]] if match[3] else 1000 ** (1 + "kmgt".index(match[2]))
    return _possible(float(match[1]) * unit, text, "a thousand PB/s") / 1e9


def format_size(size_bytes: float) -> str:
    """
    >>> format_size(201 << 20)
    '201.0 MiB'
    """
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def format_short_size(size_bytes: float) -> str:
    """At most eight characters, for columns: three digits, and four below the next unit.

    >>> format_short_size(201 << 20), format_short_size(1.5 * (1 << 30))
    ('201 MiB', '1.50 GiB')
    """
    number, unit = format_size(size_bytes).split()
    if unit == "B":
        return f"{number} B"
    value = size_bytes / _SIZE[unit[0].lower()]
    digits = max(0, 2 - len(str(int(abs(value)))) + 1)
    return f"{value:.{digits}f} {unit}"


def format_duration(duration_ns: float) -> str:
    """
    >>> format_duration(1_500_000)
    '1.50 ms'
    """
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(duration_ns) >= scale:
            return f"{duration_ns / scale:.2f} {unit}"
    return f"{duration_ns:.0f} ns"


def format_share(share: float, digits: int = 1, sign: str = "") -> str:
    """Percent; what is nothing after rounding has no sign.

    sign  "+": also before what is more than nothing

    >>> format_share(0.1234), format_share(-0.0001), format_share(0.5, 0, sign="+")
    ('12.3 %', '0.0 %', '+50 %')
    """
    return f"{format_percent(share, digits, sign)} %"


def format_percent(share: float, digits: int = 1, sign: str = "") -> str:
    """`format_share` without its unit, for columns that name it.

    >>> format_percent(-0.0004, sign="+"), format_percent(-0.0006, sign="+"), format_percent(0.25, sign="+")
    ('0.0', '-0.1', '+25.0')
    """
    percent = round(100 * share, digits) + 0.0  # minus zero plus zero is zero
    return f"{percent:{sign if percent else ''}.{digits}f}"


def format_number(value: float, digits: int = 6) -> str:
    """A number as people write it, never with an exponent: at least its whole part, and up to so many digits.

    >>> format_number(1.005e6), format_number(26.0), format_number(0.00012345, 3)
    ('1,005,000', '26', '0.000123')
    """
    if not math.isfinite(value) or value == 0:
        return f"{value + 0.0:.0f}"
    decimals = min(max(0, digits - 1 - math.floor(math.log10(abs(value)))), 12)
    text = f"{round(value, decimals) + 0.0:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def counted(count: float, thing: str) -> str:
    """So many of a thing.

    >>> counted(1, "page"), counted(2005, "cache miss"), counted(0, "entry"), counted(2, "touch"), counted(3, "epoch")
    ('1 page', '2,005 cache misses', '0 entries', '2 touches', '3 epochs')
    """
    number = format_number(count, 3)
    if number == "1":
        return f"1 {thing}"
    if thing.endswith(("s", "uch")):
        return f"{number} {thing}es"
    return f"{number} {thing[:-1]}ies" if thing.endswith("y") else f"{number} {thing}s"
