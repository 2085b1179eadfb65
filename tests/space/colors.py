"""Compute the contrast of two colors, as WCAG 2 defines it."""


def contrast(one: str, other: str) -> float:
    """Return the contrast from 1 (equal) to 21 (black on white); text requires 4.5, lines require 3."""
    dim, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dim + 0.05)


def luminance(color: str) -> float:
    """Return the luminance of a color `#rrggbb`."""
    channels = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
