"""The colours of heat: one scale for screens, pages and pictures, whose lightness says the heat.

From pale yellow over green-blue to dark violet on a light ground, and the other way round on a dark one: the hotter,
the further from the ground. Lightness rises evenly, so that it is read without seeing hues, and in print. Made in Oklab
(Björn Ottosson, "A perceptual color space for image processing", 2020).
"""

from __future__ import annotations

import math
from functools import cache

STEPS = 256
_LIKE_THE_GROUND = 24  # steps at the cold end

# Lightness, chroma and hue (degrees) of the coldest, some between, and the hottest, on a light ground.
_STOPS = ((0.95, 0.06, 105), (0.80, 0.11, 150), (0.62, 0.10, 210), (0.44, 0.13, 265), (0.25, 0.12, 300))

Colour = tuple[int, int, int]


@cache
def scale(dark: bool) -> tuple[Colour, ...]:
    """`STEPS` colours from cold to hot, each (red, green, blue) of 0 to 255. dark: for a dark ground."""
    light = tuple(_between(step / (STEPS - 1)) for step in range(STEPS))
    return light[::-1] if dark else light


def seen(dark: bool, steps: int) -> list[Colour]:
    """So many colours from cold to hot, of which the coldest is seen on its ground: white, or nearly black."""
    colours = scale(dark)[_LIKE_THE_GROUND:]
    return [colours[round(step * (len(colours) - 1) / (steps - 1))] for step in range(steps)]


def hexadecimal(colour: Colour) -> str:
    """
    >>> hexadecimal((255, 0, 16))
    '#ff0010'
    """
    return "#" + bytes(colour).hex()


def _between(share: float) -> Colour:
    at = share * (len(_STOPS) - 1)
    low = min(int(at), len(_STOPS) - 2)
    lightness, chroma, hue = (
        a + (b - a) * (at - low) for a, b in zip(_STOPS[low], _STOPS[low + 1], strict=True)
    )
    return _rgb(lightness, chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue)))


def _rgb(lightness: float, a: float, b: float) -> Colour:
    """sRGB of an Oklab colour; what a screen cannot show is cut."""
    long, medium, short = (
        (lightness + x * a + y * b) ** 3
        for x, y in (
            (0.3963377774, 0.2158037573),
            (-0.1055613458, -0.0638541728),
            (-0.0894841775, -1.2914855480),
        )
    )
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    red, green, blue = (_gamma(each) for each in linear)
    return red, green, blue


def _gamma(linear: float) -> int:
    value = min(1.0, max(0.0, linear))
    curved = 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
    return round(255 * curved)
