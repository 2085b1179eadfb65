import numpy as np
import pytest

from escoita.data.report import DEFAULT_MAX_AUDIO_SECONDS, find_outliers, usual_speaking_rate
from escoita.data.statistics import Measured, shortened
from escoita.metrics.characters import count_characters
from escoita.records.data import OutlierKind, Outliers
from tests.data.measures import clip, measured


HEARD = b"heard"
# Twelve characters a second, give or take.
USUAL = [clip("chiroqni yoq", 1 + place % 7 / 20, HEARD) for place in range(30)]


def found(corpus: Measured, limit: float = 30.0) -> dict[OutlierKind, Outliers]:
    characters = count_characters(corpus.utterances.each("text"))
    return {each.kind: each for each in find_outliers(corpus, characters, limit)}


def test_a_corpus_in_which_nothing_stands_out() -> None:
    assert found(measured(*USUAL)) == {}


@pytest.mark.parametrize(
    "odd, kind, detail",
    [
        (clip("chiroqni yoq " * 29, 30.5, HEARD), "long", "30.5 s"),
        (clip("u", 0.1, HEARD), "short", "0.10 s"),
        (clip("chiroqni yoq " * 20, 2.0, HEARD), "dense", "130.0 characters a second; the median is 10.4"),
        (clip("ha", 5.0, HEARD), "sparse", "0.4 characters a second; the median is 10.4"),
        (clip("чироқни ёқ ok", 1.0, HEARD), "script", "Cyrillic, not Latin"),
        (clip("soat 7:30 da", 1.0, HEARD), "digits", "7:30 is not written as it is spoken"),
        (clip("chiroqni yoq", 1.0), "silent", "nothing can be heard"),
        (clip("chiroqni yoq", 1.0, HEARD, duration=1.6), "claim", "1.60 s claimed, 1.00 s measured"),
        (clip("chiroqni yoq", 1.0, HEARD, duration=0.4), "claim", "0.40 s claimed, 1.00 s measured"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_clip_that_stands_out(odd: tuple, kind: OutlierKind, detail: str) -> None:
    (outliers,) = found(measured(*USUAL, odd)).values()
    assert (outliers.kind, outliers.clips, outliers.share) == (kind, 1, 1 / 31)
    (example,) = outliers.examples
    assert (example.clip.id, example.clip.text, example.detail) == ("30", shortened(odd[0]["text"]), detail)


@pytest.mark.parametrize(
    "usual",
    [
        clip("chiroqni yoq " * 28, 30.0, HEARD),
        clip("ha", 0.2, HEARD),
        clip("chiroqni yoq OK да", 1.5, HEARD),
        clip("oʻn toʻrtta", 1.0, HEARD),
        clip("chiroqni yoq", 1.0, HEARD, duration=1.5),
        clip("chiroqni yoq", 1.0, HEARD, offset=3.0, duration=9.0),
    ],
    ids=["as long as is heard", "short", "a foreign word", "a modifier letter", "a rounded claim", "a part"],
)
def test_what_is_no_outlier(usual: tuple) -> None:
    assert found(measured(*USUAL, usual)) == {}


def test_the_farthest_are_the_examples() -> None:
    lengths = [31, 45, 33, 60, 32, 44, 35]
    outliers = found(measured(*USUAL, *(clip("chiroqni yoq " * 30, each, HEARD) for each in lengths)))["long"]
    assert outliers.clips == 7
    assert [example.detail for example in outliers.examples] == ["60.0 s", "45.0 s", "44.0 s", "35.0 s", "33.0 s"]


def test_the_limit_of_another_model() -> None:
    assert found(measured(*USUAL), limit=1.25)["long"].clips == sum(
        fields["audio_seconds"] > 1.25 for fields, _ in USUAL
    )


def test_the_script_is_that_of_most_letters_of_the_corpus() -> None:
    rows = [clip("чироқни ёқ", 1.0, HEARD)] * 5 + [clip("chiroqni yoq", 1.0, HEARD), clip("12 !?", 1.0, HEARD)]
    assert [example.detail for example in found(measured(*rows))["script"].examples] == ["Latin, not Cyrillic"]


def test_a_corpus_without_letters() -> None:
    assert set(found(measured(*[clip("12 !?", 1.0, HEARD)] * 3))) == {"digits"}


def test_outliers_hardly_move_what_is_usual() -> None:
    rates = np.random.default_rng(1).lognormal(np.log(12), 0.2, 1_000)
    spoilt = np.concatenate([rates, np.full(200, 0.01), np.full(100, 900.0)])
    for slow, fast in (usual_speaking_rate(rates), usual_speaking_rate(spoilt)):
        assert 4 < slow < 6 and 23 < fast <= 30


def test_half_and_twice_the_median_are_usual_however_alike_the_others_are() -> None:
    assert usual_speaking_rate(np.full(100, 10.0)) == pytest.approx((5, 20))


def test_few_clips_have_no_usual_pace() -> None:
    assert usual_speaking_rate(np.array([2.0, 25.0] + [10.0] * 17)) == (1.0, 30.0)


def test_the_limit_is_that_of_the_families() -> None:
    from escoita.models.base import Family

    assert Family.max_audio_seconds == DEFAULT_MAX_AUDIO_SECONDS


def test_clips_of_which_one_channel_is_used() -> None:
    (outliers,) = found(measured(*USUAL, channels=[0] * (len(USUAL) - 1) + [2])).values()
    assert (outliers.kind, outliers.clips) == ("channel", 1)
    assert outliers.examples[0].detail == "channel 2 is used"
