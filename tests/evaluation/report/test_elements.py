from collections.abc import Sequence
from pathlib import Path

import pytest

from escoita.evaluation.aggregate import score
from escoita.evaluation.report import elements as module
from escoita.evaluation.report.data import ScoredPredictions, read_scored_predictions
from escoita.evaluation.report.elements import WorstUtterance, with_players, worst_utterances
from tests.evaluation.report_samples import clips_of, quickstart_clips, write_heard


def heard(
    folder: Path, said: Sequence[str], texts: Sequence[str], corpus: str = "clips", normalizer: str = "raw"
) -> list[ScoredPredictions]:
    write_heard(folder, clips_of(said, corpus), {"adapter": texts})
    return read_scored_predictions(folder, score(folder, normalizer, 20))["adapter"]


def test_most_edits_come_first_and_among_equals_the_higher_rate(tmp_path: Path) -> None:
    said = ["a b c d", "a b", "right", "a b c", "x"]
    found = worst_utterances(heard(tmp_path, said, ["a", "c d", "right", "q", "y"]), 4)
    assert [(utterance.id, utterance.edits, utterance.words) for utterance in found] == [
        ("clips-4", 3, 3),
        ("clips-1", 3, 4),
        ("clips-2", 2, 2),
        ("clips-5", 1, 1),
    ]
    assert found[2].wer == 1.0


def test_utterances_of_several_corpora_stand_in_one_list(tmp_path: Path) -> None:
    heard(tmp_path, ["a b", "c"], ["a x", "c"], "first")
    parts = heard(tmp_path, ["d", "e f g"], ["d", ""], "second")
    assert [(utterance.corpus, utterance.id) for utterance in worst_utterances(parts, 20)] == [
        ("second", "second-2"),
        ("first", "first-1"),
    ]


def test_without_an_error_there_is_none(tmp_path: Path) -> None:
    assert worst_utterances(heard(tmp_path, ["a b"], ["a b"]), 20) == []


def test_texts_are_shown_as_they_were_where_the_normaliser_changed_more_than_spaces(tmp_path: Path) -> None:
    said, texts = ["Salom, dunyo!", " salom  dunyo"], ["salom", "Salom."]
    first, second = sorted(worst_utterances(heard(tmp_path, said, texts, normalizer="basic"), 20), key=lambda u: u.id)
    assert (first.reference, first.hypothesis) == ("Salom, dunyo!", None)
    assert (second.reference, second.hypothesis) == (None, "Salom.")


def test_faults_are_named(tmp_path: Path) -> None:
    (found,) = worst_utterances(heard(tmp_path, ["salom dunyo"], [""]), 20)
    assert found.faults == ["empty"]


@pytest.fixture
def wrong(tmp_path: Path) -> list[WorstUtterance]:
    clips = quickstart_clips(3)
    write_heard(tmp_path, clips, {"adapter": ["x"] * 3})
    return worst_utterances(read_scored_predictions(tmp_path, score(tmp_path, resamples=20))["adapter"], 20)


def test_players_stand_beside_clips_that_may_be_shipped(wrong: list[WorstUtterance]) -> None:
    shown, silent = with_players(wrong, {"quickstart-uz": quickstart_clips(3)}, {"quickstart-uz"})
    assert all(utterance.player and utterance.player.startswith("data:audio/ogg;base64,") for utterance in shown)
    assert len({utterance.player for utterance in shown}) == 3
    assert silent == []


def test_clips_whose_licence_is_not_known_are_left_out_and_said(wrong: list[WorstUtterance]) -> None:
    shown, silent = with_players(wrong, {"quickstart-uz": quickstart_clips(3)}, ())
    assert [utterance.player for utterance in shown] == [None] * 3
    reason = "the recipe does not say of quickstart-uz that its clips may be shipped (publish_audio)"
    assert silent == [f"3 without a player, as {reason}."]


def test_clips_that_are_not_at_hand_are_said(wrong: list[WorstUtterance]) -> None:
    assert with_players(wrong, {}, {"quickstart-uz"})[1] == [
        "3 without a player, as quickstart-uz was not at hand, or no longer has these rows."
    ]
    _, silent = with_players(wrong, {"quickstart-uz": quickstart_clips(2)}, {"quickstart-uz"})
    assert len(silent) == 1 and silent[0].startswith("1 without a player")


def test_all_players_together_stay_small(wrong: list[WorstUtterance], monkeypatch: pytest.MonkeyPatch) -> None:
    clips = {"quickstart-uz": quickstart_clips(3)}
    sizes = [len(utterance.player or "") for utterance in with_players(wrong, clips, clips)[0]]
    monkeypatch.setattr(module, "TOTAL", sizes[0] + 1)
    shown, silent = with_players(wrong, clips, clips)
    assert shown[0].player and not shown[1].player
    assert len(silent) == 1 and "all together" in silent[0]
