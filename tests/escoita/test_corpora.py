from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escoita.corpora import Rejected, check_clips, gather, read_manifest, refuse_over_share
from escoita.errors import CorpusError
from escoita.recipe import Corpus
from tests.escoita.samples import tone, write_clip, write_manifest


GOOD = {"audio_filepath": "good.wav", "text": "bir"}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "good.wav")


def test_a_row_is_read_whole(tmp_path: Path) -> None:
    row = {"id": "a1", "audio_filepath": "clips/a.ogg", "text": " toʻqson ", "lang": "uz", "speaker": "m6"}
    path = write_manifest(tmp_path / "test.jsonl", [row | {"duration": 1.5}])
    (utterance,), rejected = read_manifest(path, corpus="voices", language="gl")
    assert not rejected
    assert (utterance.id, utterance.text, utterance.speaker) == ("a1", "toʻqson", "m6")
    assert (utterance.corpus, utterance.language) == ("voices", "uz")
    assert (utterance.audio, utterance.manifest, utterance.row) == (str(tmp_path / "clips/a.ogg"), str(path), 1)


def test_what_a_row_leaves_out(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "test.jsonl", [{"audio_filepath": "/data/a.ogg", "text": "un"}])
    (utterance,), _ = read_manifest(path, language="gl")
    assert (utterance.id, utterance.corpus, utterance.language, utterance.speaker) == ("a", "test", "gl", "")
    assert utterance.audio == "/data/a.ogg"


@pytest.mark.parametrize(
    "content, rows",
    [
        ('{"audio_filepath": "a.wav", "text": "un"}', [1]),
        ('\n\n{"audio_filepath": "a.wav", "text": "un"}\n \n{"audio_filepath": "b.wav", "text": "dous"}\n', [3, 5]),
        ('{"audio_filepath": "a.wav", "text": "un"}\r\n{"audio_filepath": "b.wav", "text": "dous"}\r\n', [1, 2]),
        ('\ufeff{"audio_filepath": "a.wav", "text": "un"}\n', [1]),
        (
            '{"audio_filepath": "a.wav", "text": "un\u2028dous\x85tres"}\n{"audio_filepath": "b.wav", "text": "a"}',
            [1, 2],
        ),
    ],
    ids=["no final newline", "blank lines", "Windows", "byte order mark", "line separators within a text"],
)
def test_rows_are_counted_as_an_editor_does(tmp_path: Path, content: str, rows: list[int]) -> None:
    path = tmp_path / "test.jsonl"
    path.write_bytes(content.encode())
    utterances, rejected = read_manifest(path)
    assert [utterance.row for utterance in utterances] == rows and not rejected


@pytest.mark.parametrize(
    "row, audio, reason",
    [
        ('{"audio_filepath": "a.wav", "text": ', "row", "not an object"),
        ("[1, 2]", "row", "not an object"),
        ("null", "row", "not an object"),
        ({"text": "un"}, "row", "not an object"),
        ({"audio_filepath": "a.wav"}, "row", "not an object"),
        ({"audio_filepath": "a.wav", "text": None}, "row", "not an object"),
        ({"audio_filepath": 3, "text": "un"}, "row", "not an object"),
        ({"audio_filepath": "a.wav", "text": ""}, "a.wav", "empty transcript"),
        ({"audio_filepath": "a.wav", "text": " \t\n"}, "a.wav", "empty transcript"),
        ({"audio_filepath": "a.wav", "text": "un", "offset": 0.5, "duration": 1}, "a.wav", "names a part"),
        ('{"audio_filepath": "a.wav", "text": "\\ud800"}', "a.wav", "the transcript is not valid Unicode"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, Any] | str, audio: str, reason: str) -> None:
    path = write_manifest(tmp_path / "test.jsonl", [GOOD, row, GOOD])
    utterances, (rejected,) = read_manifest(path)
    assert [utterance.row for utterance in utterances] == [1, 3]
    assert str(rejected).startswith(f"{path}:2: {audio}: {reason}")


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "cannot be read"),
        (b'{"text": "\xff\xfe"}', "cannot be read"),
        ('{"audio_filepath": "a.wav", "text": "un"}'.encode("utf-16"), "cannot be read"),
        (b"", "has no rows"),
        (b"\n \n", "has no rows"),
    ],
)
def test_a_manifest_that_cannot_be_read(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "test.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorpusError) as refusal:
        read_manifest(path)
    assert str(refusal.value).startswith(f"{path}: {reason}") and "\n" not in str(refusal.value)


def test_a_manifest_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot be read as a manifest"):
        read_manifest(tmp_path)


def test_nothing_is_dropped_without_being_named(tmp_path: Path, good: Path) -> None:
    nan = tone()
    nan[3] = np.nan
    write_clip(tmp_path / "nan.wav", nan, subtype="FLOAT")
    write_clip(tmp_path / "none.wav", np.zeros(0, np.float32))
    write_clip(tmp_path / "long.wav", tone(seconds=1.5))
    (tmp_path / "junk.wav").write_bytes(b"junk")
    bad = {
        "missing.wav": "no such file",
        "nan.wav": "not numbers",
        "none.wav": "holds no samples",
        "long.wav": "1.5 s is over the 1 s that the model hears",
        "junk.wav": "not a recording that can be read",
    }
    rows: list[dict[str, Any] | str] = [GOOD]
    for name in bad:
        rows += [{"audio_filepath": name, "text": "bir"}, GOOD]
    path = write_manifest(tmp_path / "test.jsonl", [*rows, "{", {"audio_filepath": "good.wav", "text": ""}])
    corpus = Corpus(name="clips", manifest=str(path))

    usable, rejected = gather([corpus], "uz", max_audio_seconds=1.0, max_rejected_share=1.0)

    assert [utterance.row for utterance in usable] == [1, 3, 5, 7, 9, 11]
    assert {utterance.audio_seconds for utterance in usable} == {0.5}
    assert sorted(row.row for row in rejected) == [2, 4, 6, 8, 10, 12, 13]
    for row, (name, reason) in enumerate(bad.items(), start=1):
        (named,) = (str(item) for item in rejected if item.row == 2 * row)
        assert named.startswith(f"{path}:{2 * row}: {tmp_path / name}: ") and reason in named


def test_a_clip_as_long_as_the_model_hears_is_used(tmp_path: Path, good: Path) -> None:
    utterances, _ = read_manifest(write_manifest(tmp_path / "test.jsonl", [GOOD]))
    usable, rejected = check_clips(utterances, max_audio_seconds=0.5)
    assert len(usable) == 1 and not rejected


def rows(count: int) -> list[Rejected]:
    return [Rejected("m.jsonl", row, f"{row}.wav", "no such file") for row in range(1, count + 1)]


@pytest.mark.parametrize("usable, bad, share", [(10, 0, 0.0), (99, 1, 0.01), (1, 99, 1.0), (3, 1, 0.25)])
def test_as_many_as_the_share_allows(usable: int, bad: int, share: float) -> None:
    assert refuse_over_share(usable, rows(bad), share) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "usable, bad, share, said",
    [
        (10, 1, 0.0, "1 of 11 rows cannot be used, over the 0.0%"),
        (98, 2, 0.01, "2 of 100 rows cannot be used, over the 1.0%"),
        (0, 2, 1.0, "none of 2 rows can be used"),
    ],
)
def test_over_the_share_is_refused_in_one_line(usable: int, bad: int, share: float, said: str) -> None:
    with pytest.raises(CorpusError) as refusal:
        refuse_over_share(usable, rows(bad), share)
    assert str(refusal.value).startswith(said)
    assert str(refusal.value).endswith("the first: m.jsonl:1: 1.wav: no such file")
    assert "\n" not in str(refusal.value)


def test_a_transcript_that_holds_a_mark_of_the_model_is_rejected(tmp_path: Path, good: Path) -> None:
    manifest = write_manifest(tmp_path / "marked.jsonl", [GOOD, GOOD | {"text": "un <|audio|> dous"}])
    corpora = [Corpus(name="marked", manifest=str(manifest), language="gl")]
    usable, (rejected,) = gather(corpora, "gl", 30.0, 0.5, ["<|turn>", "<|audio|>"])
    assert len(usable) == 1 and rejected.reason == "the transcript holds <|audio|>, which is a mark of the model"


def test_records_name_no_folder_of_this_machine() -> None:
    assert Rejected("/srv/m.jsonl", 3, "/srv/a.wav", "no such file").public() == "m.jsonl:3: a.wav: no such file"
    assert Rejected("uz/m.jsonl", 3, "uz/a.wav", "no such file").public() == "uz/m.jsonl:3: uz/a.wav: no such file"


def test_the_share_is_of_each_corpus(tmp_path: Path, good: Path) -> None:
    whole = write_manifest(tmp_path / "whole.jsonl", [GOOD] * 20)
    broken = write_manifest(tmp_path / "broken.jsonl", [GOOD, "{"])
    corpora = [Corpus(name=path.stem, manifest=str(path), language="gl") for path in (whole, broken)]
    with pytest.raises(CorpusError, match="1 of 2 rows cannot be used, over the 10.0%"):
        gather(corpora, "uz", 30.0, 0.1)
    usable, rejected = gather(corpora, "uz", 30.0, 0.5)
    assert [utterance.corpus for utterance in usable] == ["whole"] * 20 + ["broken"]
    assert {utterance.language for utterance in usable} == {"gl"} and len(rejected) == 1
