"""Figures as people read them: fractions become percent, differences of fractions percentage points."""

MINUS = "\N{MINUS SIGN}"


def thousands(value: int) -> str:
    """An integer with separators."""
    return f"{value:,}"


def percent(rate: float | None) -> str:
    """A fraction as percent; a dash where it was not measured."""
    return "–" if rate is None else f"{100 * rate:.2f} %"


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


def probability(p_value: float) -> str:
    """A p-value."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
