import re
from xml.etree import ElementTree

import pytest

from escoita.plots import COLOURS, GREY, duration_plot, svg


EDGES = [0.0, 1.0, 2.0, 3.0]
CLIPS = {"train": [5, 90, 4, 1], "test": [0, 9, 1, 0]}
SVG = "{http://www.w3.org/2000/svg}"


def words(plot: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(plot).iter(f"{SVG}text")]  # noqa: S314


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_the_same_figures_give_the_same_bytes() -> None:
    assert duration_plot(EDGES, CLIPS) == duration_plot(EDGES, CLIPS)
    assert duration_plot(EDGES, CLIPS) != duration_plot(EDGES, {"train": [5, 90, 5, 0]})


def test_a_plot_is_one_element_without_date_script_or_address() -> None:
    plot = duration_plot(EDGES, CLIPS)
    assert plot.startswith("<svg") and plot.rstrip().endswith("</svg>")
    root = ElementTree.fromstring(plot)  # noqa: S314
    assert root.tag == f"{SVG}svg" and root.findtext(f"{SVG}title") == "Durations of clips"
    assert not re.search(r"<script|<image|<dc:date|matplotlib|\b20\d\d-", plot)
    addresses = re.findall(r"https?://[^\"<> ]+", plot)
    assert all(each.startswith("http://www.w3.org/") for each in addresses)


def test_a_plot_reaches_no_further_than_itself() -> None:
    plot = duration_plot(EDGES, CLIPS)
    assert "<style" not in plot
    ids, used = (set(re.findall(pattern, plot)) for pattern in (r' id="([^"]+)"', r'#([0-9a-z]+)[")]'))
    assert ids == {each for each in used if each in ids}


def test_text_stays_text() -> None:
    said = words(duration_plot(EDGES, CLIPS))
    assert {"seconds", "% of clips", "train (100)", "test (10)", "0", "3+"} <= set(said)


@pytest.mark.parametrize("colour", [GREY, *COLOURS])
@pytest.mark.parametrize("ground", ["#ffffff", "#0d1117"])
def test_everything_is_legible_on_white_and_on_near_black(colour: str, ground: str) -> None:
    assert contrast(colour, ground) >= (4 if colour == GREY else 3)


def test_the_ground_is_transparent_and_text_is_grey() -> None:
    plot = duration_plot(EDGES, CLIPS)
    assert not re.search(r"fill: ?#(fff|000)|#ffffff|#000000", plot)
    assert all(GREY in style for style in re.findall(r'<text style="([^"]*)"', plot))


def test_names_from_data_are_shown_as_they_are() -> None:
    names = ["<b>bold</b>", "a $x^2$ & b", 'quote"s']
    said = words(duration_plot(EDGES, {name: [1, 2, 3, 0] for name in names}))
    assert {f"{name} (6)" for name in names} <= set(said)


@pytest.mark.parametrize("edges, counts", [([0.0, 1.0], [0, 0]), ([0.0], [3]), ([0.0, 1.0], [0, 7])])
def test_hardly_anything_to_draw(edges: list[float], counts: list[int]) -> None:
    assert "clips" in " ".join(words(duration_plot(edges, {"train": counts})))


def test_ids_of_two_plots_on_a_page_do_not_clash() -> None:
    def clipped(title: str) -> set[str]:
        return set(re.findall(r'<clipPath id="([^"]+)"', svg(title, lambda axes: axes.plot([1, 2], [3, 1]))))

    assert clipped("One") and clipped("Two") and not clipped("One") & clipped("Two")
