"""Figures as people read them: fractions become percent, differences of fractions percentage points."""

from collections.abc import Iterable


MINUS = "\N{MINUS SIGN}"


def thousands(value: int) -> str:
    """An integer with separators."""
    return f"{value:,}"


def percent(rate: float | None) -> str:
    """A fraction as percent; a dash where it was not measured."""
    return "–" if rate is None else f"{100 * rate:.2f} %"


def composition(parts: Iterable[tuple[str, float]]) -> str:
    """Of what a whole is made: each part with its share."""
    return ", ".join(f"{name} {percent(share)}" for name, share in parts)


def interval(bounds: tuple[float, float]) -> str:
    """Two fractions as percent."""
    return f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f} %"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    figure = f"{100 * difference:+.2f}".replace("-", MINUS)
    return figure[1:] if figure[1:] == "0.00" else figure


def points_interval(bounds: tuple[float, float]) -> str:
    """Two such differences."""
    return f"{points(bounds[0])} to {points(bounds[1])}"


def duration(seconds: float) -> str:
    """Seconds as people say them: hours from one on, else minutes."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def gigabytes(size: int) -> str:
    """Bytes in billions."""
    return f"{size / 1e9:.1f} GB"


def kilowatt_hours(joules: float) -> str:
    """Energy as it is paid for, to three figures."""
    return f"{joules / 3.6e6:.3g} kWh"


def speed(factor: float) -> str:
    """How many times as fast as real time, or how many in a second: three figures, or all before the point."""
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:.3g}"


def probability(p_value: float) -> str:
    """A p-value."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
