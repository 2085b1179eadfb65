import re
from xml.etree import ElementTree

import pytest

from escoita.records.plots import COLORS, GREY, MOST_FIGURES, duration_plot, figures_in, svg, training_plot
from escoita.records.training import LossPoint
from tests.cards.samples import validated_training


EDGES = [0.0, 1.0, 2.0, 3.0]
CLIPS = {"train": [5, 90, 4, 1], "test": [0, 9, 1, 0]}
SVG = "{http://www.w3.org/2000/svg}"


def words(plot: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(plot).iter(f"{SVG}text")]  # noqa: S314


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2."""
    channels = [int(color[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_the_same_data_give_the_same_bytes() -> None:
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


def test_a_plot_does_not_affect_the_page_around_it() -> None:
    plot = duration_plot(EDGES, CLIPS)
    assert "<style" not in plot
    ids, used = (set(re.findall(pattern, plot)) for pattern in (r' id="([^"]+)"', r'#([0-9a-z]+)[")]'))
    assert ids == {each for each in used if each in ids}


def test_text_is_not_converted_to_paths() -> None:
    texts = words(duration_plot(EDGES, CLIPS))
    assert {"seconds", "% of clips", "train (100)", "test (10)", "0", "3+"} <= set(texts)


@pytest.mark.parametrize("background", ["#ffffff", "#0d1117"])
def test_everything_is_legible_on_white_and_on_near_black(background: str) -> None:
    assert contrast(GREY, background) >= 4
    assert all(contrast(color, background) >= 3 for color in COLORS)


def test_the_background_is_transparent_and_text_is_grey() -> None:
    plot = duration_plot(EDGES, CLIPS)
    assert not re.search(r"fill: ?#(fff|000)|#ffffff|#000000", plot)
    assert all(GREY in style for style in re.findall(r'<text style="([^"]*)"', plot))


def test_names_from_data_are_escaped() -> None:
    names = ["<b>bold</b>", "a $x^2$ & b", 'quote"s']
    texts = words(duration_plot(EDGES, {name: [1, 2, 3, 0] for name in names}))
    assert {f"{name} (6)" for name in names} <= set(texts)


@pytest.mark.parametrize("edges, counts", [([0.0, 1.0], [0, 0]), ([0.0], [3]), ([0.0, 1.0], [0, 7])])
def test_plots_with_little_data(edges: list[float], counts: list[int]) -> None:
    assert "clips" in " ".join(words(duration_plot(edges, {"train": counts})))


def test_ids_of_two_plots_differ() -> None:
    def clipped(title: str) -> set[str]:
        return set(re.findall(r'<clipPath id="([^"]+)"', svg(title, lambda axes: axes.plot([1, 2], [3, 1]))))

    assert clipped("One") and clipped("Two") and not clipped("One") & clipped("Two")


def line(plot: str, color: str) -> list[tuple[float, float]]:
    """Return the corners of the line in a color, with y growing downwards."""
    found = re.search(rf'<path d="([^"]+)"[^>]*style="fill: none;[^"]*stroke: {color}; stroke-width: 1.4', plot)
    assert found
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", found[1])]


def test_the_training_plot_shows_loss_rates_and_the_saved_step() -> None:
    plot = training_plot(validated_training())
    assert plot is not None and plot == training_plot(validated_training())
    texts = words(plot)
    assert {"training", "validation", "loss", "WER", "CER", "error rate, %", "126.5", "2.4"} <= set(texts)
    assert texts.count("kept") == texts.count("step") == 2
    assert ElementTree.fromstring(plot).findtext(f"{SVG}title") == "Training curve"  # noqa: S314
    assert not re.search(r"<script|<image|\b20\d\d-", plot)


def test_lines_are_at_the_values() -> None:
    plot = training_plot(validated_training(kept_step=None))
    assert plot is not None and "kept" not in words(plot)
    (left, top), (middle, low), (right, last) = line(plot, COLORS[2])
    assert middle - left == pytest.approx(right - middle, rel=1e-3)  # steps 0, 300, 600
    assert (low - top) / (last - top) == pytest.approx((1.26512 - 0.02371) / (1.26512 - 0.03125), rel=1e-3)


def test_without_rates_only_the_loss_is_drawn_and_without_validation_nothing() -> None:
    points = [point.model_copy(update={"wer": None, "cer": None}) for point in validated_training().validation]
    plot = training_plot(validated_training(validation=points, kept_step=None))
    assert plot is not None and "WER" not in words(plot) and words(plot).count("step") == 1
    assert training_plot(validated_training(validation=[])) is None


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_is_a_gap(loss: float) -> None:
    record = validated_training()
    points = [*record.validation[:2], record.validation[2].model_copy(update={"loss": loss})]
    plot = training_plot(validated_training(validation=points, loss=[LossPoint(step=3, loss=loss)]))
    assert plot is not None and "nan" not in plot and "inf" not in plot
    assert len(line(plot, COLORS[1])) == 2


def test_one_evaluation_and_thousands_of_steps_can_be_drawn() -> None:
    record = validated_training(validation=validated_training().validation[:1], kept_step=None, steps=1)
    assert training_plot(record) is not None
    long = validated_training(loss=[LossPoint(step=step, loss=1 / step) for step in range(1, 20_001)], steps=20_000)
    assert len(training_plot(long) or "") < 200_000


def test_a_plot_contains_its_data() -> None:
    assert figures_in(duration_plot(EDGES, CLIPS)) == {"seconds": EDGES, "clips": CLIPS}
    record = validated_training()
    figures = figures_in(training_plot(record) or "")
    assert figures["loss"] == [[25, 2.5], [600, 0.125]] and figures["kept_step"] == 300
    assert figures["validation"][1] == [300, 0.52, 0.02371, 0.00561]
    long = validated_training(loss=[LossPoint(step=step, loss=1 / step) for step in range(1, 20_001)])
    assert 0 < len(figures_in(training_plot(long) or "")["loss"]) <= MOST_FIGURES


@pytest.mark.parametrize("name", ["</metadata><script>alert(1)</script>", "a & b < c > d", "]]>", "–ʻ\n\t\"'\\"])
def test_names_in_the_data_are_escaped(name: str) -> None:
    plot = svg("Anything", lambda axes: axes.plot([1]), figures={name: 1})
    ElementTree.fromstring(plot)  # noqa: S314
    assert "<script" not in plot and figures_in(plot) == {name: 1}


def test_other_plots_contain_no_data() -> None:
    assert figures_in("<svg></svg>") is None
    assert figures_in("<svg><metadata>no JSON</metadata></svg>") is None
    assert figures_in(svg("Anything", lambda axes: axes.plot([1]))) is None
