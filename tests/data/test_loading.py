from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.loading import (
    Gathered,
    RejectedRowsError,
    SilentCorpusError,
    gather,
    refuse_over_share,
    rejected_lines,
    weighted,
)
from escoita.data.rows import Rejected, Utterance, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from tests.samples import tone, write_clip, write_manifest


GOOD = {"audio_filepath": "good.wav", "text": "bir"}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "good.wav")


def bad_rows(count: int) -> list[Rejected]:
    return [Rejected("m.jsonl", row, f"{row}.wav", "no such file") for row in range(1, count + 1)]


def test_every_rejected_row_is_printed(tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "long.wav", tone(seconds=1.5))
    rows = [GOOD, GOOD | {"audio_filepath": "missing.wav"}, GOOD, GOOD | {"audio_filepath": "long.wav"}]
    path = write_manifest(tmp_path / "test.jsonl", [*rows, "{", GOOD | {"text": ""}, GOOD])
    gathered = gather([Corpus(name="clips", path=str(path))], "uz", 1.0, max_rejected_share=1.0)
    usable, rejected = gathered["clips"]
    assert [row.row for row in usable] == [1, 3, 7] and {row.audio_seconds for row in usable} == {0.5}
    assert sorted(row.row for row in rejected) == [2, 4, 5, 6]
    printed = capsys.readouterr().err
    assert all(str(row) in printed for row in rejected)


@pytest.mark.parametrize("usable, bad, share", [(10, 0, 0.0), (99, 1, 0.01), (1, 99, 1.0), (3, 1, 0.25)])
def test_as_many_rejected_rows_as_the_share_allows(usable: int, bad: int, share: float) -> None:
    assert refuse_over_share(usable, bad_rows(bad), share) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("usable, bad, share", [(10, 1, 0.0), (98, 2, 0.01), (0, 2, 1.0)])
def test_more_rejected_rows_than_the_share_are_refused(usable: int, bad: int, share: float) -> None:
    with pytest.raises(RejectedRowsError) as error:
        refuse_over_share(usable, bad_rows(bad), share)
    assert (error.value.rejected, error.value.total, error.value.max_share) == (bad, usable + bad, share)
    assert error.value.first == bad_rows(1)[0] and str(error.value.first) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_share_applies_to_each_corpus(tmp_path: Path, good: Path) -> None:
    complete = write_manifest(tmp_path / "complete.jsonl", [GOOD] * 20)
    broken = write_manifest(tmp_path / "broken.jsonl", [GOOD, "{"])
    corpora = [Corpus(name=path.stem, path=str(path), language="gl") for path in (complete, broken)]
    with pytest.raises(RejectedRowsError) as error:
        gather(corpora, "uz", 30.0, 0.1)
    assert (error.value.rejected, error.value.total) == (1, 2)
    gathered = gather(corpora, "uz", 30.0, 0.5)
    counts = {name: (len(usable), len(rejected)) for name, (usable, rejected) in gathered.items()}
    assert counts == {"complete": (20, 0), "broken": (1, 1)}
    assert {row.language for usable, _ in gathered.values() for row in usable} == {"gl"}


def rows_of(counts: dict[str, int]) -> Gathered:
    return {
        name: (
            Utterances.of(
                Utterance(f"{name}{row}", f"{name}{row}.wav", "un", name, "gl", "m.jsonl", row)
                for row in range(1, count + 1)
            ),
            [],
        )
        for name, count in counts.items()
    }


def corpora_of(weights: dict[str, float]) -> list[Corpus]:
    return [Corpus(name=name, path=f"{name}.jsonl", weight=weight) for name, weight in weights.items()]


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.tuples(st.integers(0, 12), st.floats(0, 5, exclude_min=True)), min_size=1
    ),
    st.integers(0, 2**32),
)
def test_weights_determine_the_number_of_clips_in_an_epoch(drawn: dict[str, tuple[int, float]], seed: int) -> None:
    rows = rows_of({name: count for name, (count, _) in drawn.items()})
    corpora = corpora_of({name: weight for name, (_, weight) in drawn.items()})
    if not any(round(weight * count) for count, weight in drawn.values()):
        with pytest.raises(CorpusError) as error:
            weighted(rows, corpora, seed)
        assert error.value.key == "corpora.train"
        return
    epoch = weighted(rows, corpora, seed)
    counts = Counter(epoch.column("id"))
    for name, (count, weight) in drawn.items():
        times = [counts[f"{name}{row}"] for row in range(1, count + 1)]
        assert sum(times) == round(weight * count)
        assert not times or max(times) - min(times) <= 1, "the counts of two clips differ by 1 at most"
    assert list(weighted(rows, corpora, seed)) == list(epoch)


def test_the_sample_depends_on_the_seed() -> None:
    rows, corpora = rows_of({"a": 100}), corpora_of({"a": 0.5})
    drawn = [set(weighted(rows, corpora, seed).column("id")) for seed in range(5)]
    assert all(len(each) == 50 for each in drawn) and len({frozenset(each) for each in drawn}) == 5


def test_weights_of_one_do_not_change_the_rows() -> None:
    rows = rows_of({"a": 5, "b": 3})
    epoch = weighted(rows, corpora_of({"a": 1, "b": 1}), seed=1)
    assert epoch.column("id") == ["a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3"]


def test_a_corpus_without_audible_content_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "silent.wav", tone(level=0))
    path = write_manifest(tmp_path / "train.jsonl", [{"audio_filepath": "silent.wav", "text": "bir"}] * 3)
    with pytest.raises(SilentCorpusError) as error:
        gather([Corpus(name="clips", path=str(path))], "uz", None, 1.0)
    assert error.value.clips == 3 and error.value.first.startswith(f"{path}:1: ")


def test_some_silent_clips_and_single_channels_are_counted(
    tmp_path: Path, good: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "silent.wav", tone(level=0))
    write_clip(tmp_path / "inverted.wav", np.stack([tone(), -tone()], axis=1))
    names = ["good", "silent", "inverted", "inverted"]
    path = write_manifest(tmp_path / "train.jsonl", [GOOD | {"audio_filepath": f"{name}.wav"} for name in names])
    for _ in range(2):  # the second time, measures come from the cache
        gathered = gather([Corpus(name="clips", path=str(path))], "uz", None, 0.0)
        assert len(gathered["clips"][0]) == 4
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("clips: ")]
        assert len(lines) == 2 and "1 of 4" in lines[0] and "2 of 4" in lines[1]


def test_a_file_that_is_cut_off_is_rejected(tmp_path: Path, good: Path) -> None:
    (tmp_path / "cut.wav").write_bytes(good.read_bytes()[:9_000])
    path = write_manifest(tmp_path / "train.jsonl", [GOOD, GOOD | {"audio_filepath": "cut.wav"}])
    usable, (rejected,) = gather([Corpus(name="clips", path=str(path))], "uz", None, 1.0)["clips"]
    assert len(usable) == 1 and rejected.row == 2
    assert "0.50 s" in rejected.reason and "0.28 s" in rejected.reason


def test_rejected_rows_are_listed_by_reason_with_three_examples() -> None:
    rows = [Rejected("m.jsonl", row, "a.wav", f"{row}.0 s is too long") for row in range(1, 6)]
    rows.insert(0, Rejected("m.jsonl", 9, "b.wav", "no such file"))
    lines = list(rejected_lines(rows))
    assert len(lines) == 5 and "5 rows" in lines[0] and "b.wav" in lines[-1]
    assert [line.strip().split(": ")[0] for line in lines[1:4]] == ["m.jsonl:1", "m.jsonl:2", "m.jsonl:3"]
