import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.clips import check_clips
from escoita.data.readers import read_corpus
from escoita.data.readers.base import SelectionError
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from tests.samples import tone, write_clip, write_manifest


GOOD = {"audio_filepath": "good.wav", "text": "bir"}
PLAIN = '{"audio_filepath": "a.wav", "text": "un"}'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
KEYS = st.sampled_from("id audio path text lang speaker gender offset duration split other".split())
LINES = st.lists(st.dictionaries(KEYS, VALUES).map(json.dumps).map(str.encode) | st.binary(max_size=20), max_size=5)


def read(path: Path, language: str = "uz", **keys: Any) -> tuple[Utterances, list[Rejected]]:
    return read_corpus(Corpus(name="voices", path=str(path), **keys), language)


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_all_columns_of_a_row_are_read(tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "id": "a1",
        "audio_filepath": "clips/a.ogg",
        "text": " toʻqson ",
        "lang": "uz",
        "speaker": "m6",
    }
    row |= {"gender": "male", "accent": "Toshkent", "split": "test", "duration": 1.5}
    path = write_manifest(tmp_path / "test.jsonl", [row])
    (utterance,), rejected = read(path, "gl")
    assert not rejected
    assert (utterance.id, utterance.text, utterance.speaker) == ("a1", "toʻqson", "m6")
    assert (utterance.corpus, utterance.language, utterance.split) == ("voices", "uz", "test")
    assert (utterance.gender, utterance.accent) == ("male", "Toshkent")
    assert (utterance.audio, utterance.source, utterance.row) == (str(tmp_path / "clips/a.ogg"), str(path), 1)
    assert (utterance.offset, utterance.duration, utterance.embedded) == (None, 1.5, None)


def test_missing_columns_have_defaults(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "test.jsonl", [{"audio_filepath": "/data/a.ogg", "text": "un"}])
    (utterance,), _ = read(path, "gl")
    assert (utterance.id, utterance.language, utterance.audio) == ("a", "gl", "/data/a.ogg")
    assert (utterance.speaker, utterance.gender, utterance.accent, utterance.split) == ("", "", "", "")
    assert (utterance.offset, utterance.duration) == (None, None)


def test_a_row_without_a_script_has_the_tag_of_its_corpus(tmp_path: Path) -> None:
    rows: list[dict[str, Any] | str] = [GOOD | {"lang": tag} for tag in ("sr", "srp", "sr-RS", "sr-Cyrl", "hr")]
    path = write_manifest(tmp_path / "m.jsonl", rows)
    assert [row.language for row in read(path, "sr-Latn")[0]] == ["sr-Latn"] * 3 + ["sr-Cyrl", "hr"]


def test_rows_without_a_language_have_that_of_the_corpus(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "m.jsonl", [GOOD, GOOD | {"lang": "gl-ES"}, GOOD | {"lang": "PT"}])
    assert [row.language for row in read(path, "uz")[0]] == ["uz", "gl", "pt"]
    rows, _ = read_corpus(Corpus(name="voices", path=str(path), language="es"), "uz")
    assert [row.language for row in rows] == ["es", "gl", "pt"]


def test_a_manifest_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(tmp_path / "m.jsonl", [GOOD])
    monkeypatch.chdir(tmp_path)
    (utterance,), _ = read(Path("m.jsonl"))
    assert (utterance.source, utterance.audio) == ("m.jsonl", "good.wav")


def test_a_row_with_an_offset_is_a_segment_of_its_recording(tmp_path: Path) -> None:
    write_clip(tmp_path / "good.wav", tone(seconds=2))
    rows: list[dict[str, Any] | str] = [
        GOOD | {"offset": 0.0, "duration": 0.5},
        GOOD | {"offset": 1, "duration": "0.25"},
        GOOD | {"duration": 9},
    ]
    usable, rejected = check_clips(read(write_manifest(tmp_path / "m.jsonl", rows))[0], None)
    assert not rejected and [row.audio_seconds for row in usable] == [0.5, 0.25, 2.0]
    assert [(row.offset, row.duration) for row in usable] == [(0.0, 0.5), (1.0, 0.25), (None, 9.0)]
    assert len({row.id for row in usable}) == 3


@pytest.mark.parametrize(
    "content, rows",
    [
        (PLAIN, [1]),
        (f"\n\n{PLAIN}\n \n{PLAIN}\n", [3, 5]),
        (f"{PLAIN}\r\n{PLAIN}\r\n", [1, 2]),
        (f"\ufeff{PLAIN}\n", [1]),
        ('{"audio_filepath": "a.wav", "text": "un\u2028dous\x85tres"}\n' + PLAIN, [1, 2]),
    ],
    ids=["no final newline", "blank lines", "Windows", "byte order mark", "line separators within a text"],
)
def test_rows_are_numbered_by_line(tmp_path: Path, content: str, rows: list[int]) -> None:
    utterances, rejected = read(written(tmp_path / "test.jsonl", content))
    assert [utterance.row for utterance in utterances] == rows and not rejected


@pytest.mark.parametrize(
    "row, audio, word",
    [
        ('{"audio_filepath": "a.wav", "text": ', "", "JSON"),
        ('{"audio_filepath": "a.wav", "text": "un"} {}', "", "JSON"),
        ("[" * 100_000, "", "JSON"),
        ("[1, 2]", "", "JSON"),
        ("null", "", "JSON"),
        ('{"audio_filepath": "a.wav", "text": "\0"}', "", "JSON"),
        ({"text": "un"}, "", "columns.audio"),
        ({"audio_filepath": "a.wav"}, "", "columns.text"),
        (GOOD | {"path": "b.wav"}, "", "columns.audio"),
        ({"audio_filepath": 3, "text": "un"}, "", "'audio_filepath'"),
        ({"audio_filepath": " ", "text": "un"}, "", "'audio_filepath'"),
        ({"audio_filepath": "a.wav", "text": None}, "a.wav", "'text'"),
        ({"audio_filepath": "a.wav", "text": 5}, "a.wav", "'text'"),
        ({"audio_filepath": "a.wav", "text": ""}, "a.wav", "empty"),
        ({"audio_filepath": "a.wav", "text": " \t\n"}, "a.wav", "empty"),
        ({"audio_filepath": "a\0.wav", "text": "un"}, "a\0.wav", "NUL"),
        ('{"audio_filepath": "a.wav", "text": "\\ud800"}', "a.wav", "Unicode"),
        ('{"audio_filepath": "\\ud800.wav", "text": "un"}', "\ud800.wav", "Unicode"),
        ('{"audio_filepath": "a.wav", "text": "un", "speaker": "\\ud800"}', "a.wav", "Unicode"),
        (GOOD | {"speaker": ["f1"]}, "good.wav", "'speaker'"),
        (GOOD | {"offset": 0.5}, "good.wav", "offset"),
        (GOOD | {"offset": 0.5, "duration": 0}, "good.wav", "offset"),
        (GOOD | {"offset": -1, "duration": 1}, "good.wav", "offset '-1'"),
        (GOOD | {"offset": True, "duration": 1}, "good.wav", "offset 'True'"),
        (GOOD | {"duration": "long"}, "good.wav", "duration 'long'"),
        (GOOD | {"duration": float("nan")}, "good.wav", "duration 'nan'"),
        (GOOD | {"duration": 10**400}, "good.wav", "duration '1000"),
        (GOOD | {"duration": {}}, "good.wav", "duration '{}'"),
        (GOOD | {"lang": "Galician"}, "good.wav", "language 'Galician'"),
    ],
)
def test_an_invalid_row_is_rejected(tmp_path: Path, row: dict[str, Any] | str, audio: str, word: str) -> None:
    path = write_manifest(tmp_path / "test.jsonl", [GOOD, row, GOOD])
    utterances, (rejected,) = read(path)
    assert [utterance.row for utterance in utterances] == [1, 3]
    assert (rejected.source, rejected.row) == (str(path), 2)
    assert rejected.audio == (f"{tmp_path}/{audio}" if audio else "") and word in rejected.reason
    assert str(rejected).isprintable()


def test_only_the_line_that_is_not_utf_8_is_rejected(tmp_path: Path) -> None:
    path = written(tmp_path / "m.jsonl", PLAIN.encode() + b'\n{"text": "\xff"}\n' + PLAIN.encode())
    utterances, (rejected,) = read(path)
    assert [row.row for row in utterances] == [1, 3]
    assert (rejected.source, rejected.row, rejected.audio) == (str(path), 2, "") and "UTF-8" in rejected.reason


@pytest.mark.parametrize(
    "name, content",
    [
        ("m.jsonl", None),
        ("m.jsonl", PLAIN.encode("utf-16")),
        ("m.jsonl", b""),
        ("m.jsonl", b"\n \n"),
        ("m.csv", b""),
        ("m.csv", b"audio,text\n"),
        ("m.txt", b"a.wav un\n"),
    ],
)
def test_a_manifest_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorpusError) as error:
        read(path)
    assert (str(error.value.path), error.value.row, error.value.key) == (str(path), None, None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b'"audio,text\n', b"audio,\xff\n"])
def test_a_header_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "m.csv", content)
    with pytest.raises(CorpusError) as error:
        read(path)
    assert (error.value.path, error.value.row) == (path, 1)


@pytest.mark.parametrize(
    "name, content, key, available",
    [
        ("m.jsonl", b'{"wav": "a.wav", "frase": "un"}', "columns.text", ("wav", "frase")),
        ("m.csv", b"audio,frase\na.wav,un\n", "columns.text", ("audio", "frase")),
        ("m.csv", b"audio,text,path\n", "columns.audio", ("audio", "path")),
        ("m.csv", b"text,text,path\n", "columns.text", ("text", "text")),
    ],
)
def test_missing_or_ambiguous_columns(
    tmp_path: Path, name: str, content: bytes, key: str, available: tuple[str, ...]
) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(SelectionError) as error:
        read(path)
    assert (error.value.path, error.value.key, error.value.available) == (path, key, available)


def test_a_folder_is_not_a_manifest(tmp_path: Path) -> None:
    for name in ("m.jsonl", "clips"):
        (tmp_path / name).mkdir()
        with pytest.raises(CorpusError) as error:
            read(tmp_path / name)
        assert error.value.path == tmp_path / name and "reader" in str(error.value.hint)


def test_a_csv_with_other_column_names(tmp_path: Path) -> None:
    table = 'Ficheiro,Transcrición,Locutor\naudios/1.wav,"ola, ""bo"" día",f017\naudios/2.wav,"dúas\nliñas",m002\n'
    path = written(tmp_path / "falai.csv", table + "audios/3.wav,tres,\n")
    columns = {"audio": "Ficheiro", "text": "Transcrición", "speaker": "Locutor"}
    utterances, rejected = read(path, "gl", columns=columns)
    assert not rejected and [row.row for row in utterances] == [2, 3, 5]
    assert [row.text for row in utterances] == ['ola, "bo" día', "dúas\nliñas", "tres"]
    assert [row.speaker for row in utterances] == ["f017", "m002", ""]
    assert [row.audio for row in utterances] == [str(tmp_path / f"audios/{number}.wav") for number in (1, 2, 3)]


def test_a_csv_of_a_spreadsheet_with_decimal_commas(tmp_path: Path) -> None:
    table = '\ufeffarquivo;texto\r\n1.wav;"ola; bo día"\r\n2.wav;si, si\r\n'
    utterances, rejected = read(written(tmp_path / "m.csv", table), columns={"audio": "arquivo", "text": "texto"})
    assert not rejected and [row.text for row in utterances] == ["ola; bo día", "si, si"]


@pytest.mark.parametrize("header", ["file_name,Transcription", "PATH,Sentence", "Wav Filename,transcript"])
def test_usual_column_names_are_recognized_in_any_case(tmp_path: Path, header: str) -> None:
    (utterance,), _ = read(written(tmp_path / "m.CSV", f"{header}\r\na.wav,un\r\n"))
    assert (utterance.audio, utterance.text) == (str(tmp_path / "a.wav"), "un")


def test_a_quote_in_a_tsv_is_text(tmp_path: Path) -> None:
    path = written(tmp_path / "m.tsv", 'path\tsentence\na.mp3\t"Ola\nb.mp3\t"bo" día\n')
    assert [row.text for row in read(path)[0]] == ['"Ola', '"bo" día']


def test_only_the_invalid_records_of_a_table_are_rejected(tmp_path: Path) -> None:
    rows = [
        "audio,text",
        "a.wav,un",
        "b.wav",
        "c.wav,tres,3",
        'd.wav,"catro',
        "e.wav,cinco",
        'f.wav,"se"is',
        "",
        "g,7",
    ]
    path = written(
        tmp_path / "m.csv", "\n".join(rows).encode() + b"\nh.wav,\xff\ni.wav,\0\nj.wav,un\rdous\nk.wav,11\n"
    )
    utterances, rejected = read(path)
    assert [(row.row, row.text) for row in utterances] == [(2, "un"), (6, "cinco"), (9, "7"), (13, "11")]
    words = {3: "1 ", 4: "3 ", 5: "table", 7: "table", 10: "UTF-8", 11: "NUL", 12: "table"}
    assert {row.row: words[row.row] in row.reason for row in rejected} == dict.fromkeys(words, True)


def test_an_empty_name_excludes_a_column(tmp_path: Path) -> None:
    path = written(tmp_path / "m.csv", "audio,path,text,language\na.wav,x,un,Galician\n")
    (utterance,), _ = read(path, "gl", columns={"audio": "audio", "language": ""})
    assert (utterance.audio, utterance.language) == (str(tmp_path / "a.wav"), "gl")


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_column_that_the_recipe_names_is_required(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"m.{suffix}", PLAIN if suffix == "jsonl" else "audio,text\na.wav,un\n")
    with pytest.raises(SelectionError) as error:
        read(path, columns={"speaker": "voz"})
    assert (error.value.path, error.value.key, error.value.value) == (path, "columns.speaker", "voz")


@pytest.mark.parametrize("suffix", ["jsonl", "tsv"])
def test_a_split_is_selected_by_its_column(tmp_path: Path, suffix: str) -> None:
    rows = [("a.wav", "un", "train"), ("b.wav", "", "train"), ("c.wav", "tres", "test"), ("d.wav", "", "test")]
    objects = [dict(zip(("audio", "text", "parte"), row, strict=True)) for row in rows]
    tables = {"jsonl": map(json.dumps, objects), "tsv": ["audio\ttext\tparte", *map("\t".join, rows)]}
    path = written(tmp_path / f"m.{suffix}", "\n".join(tables[suffix]))
    columns = {"split": "parte"}
    (utterance,), (rejected,) = read(path, columns=columns, split="test")
    assert (utterance.text, utterance.split, rejected.reason) == ("tres", "test", "empty transcript")
    with pytest.raises(SelectionError) as error:
        read(path, columns=columns, split="dev")
    assert (error.value.key, error.value.value, error.value.available) == ("split", "dev", ("test", "train"))
    with pytest.raises(SelectionError) as error:
        read(path, split="test")
    assert (error.value.key, error.value.available) == ("columns.split", ("audio", "text", "parte"))


def test_a_split_may_be_a_number(tmp_path: Path) -> None:
    rows: list[dict[str, Any] | str] = [GOOD | {"split": 1}, "{", GOOD | {"split": 2}, GOOD | {"split": None}]
    path = write_manifest(tmp_path / "m.jsonl", rows)
    utterances, rejected = read(path, split="2")
    assert [row.row for row in utterances] == [3] and [row.row for row in rejected] == [2]
    with pytest.raises(SelectionError) as error:
        read(path, split="3")
    assert (error.value.value, error.value.available) == ("3", ("1", "2"))


def test_a_limit_reads_the_first_rows_only(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "m.jsonl", [GOOD, "{", GOOD, "{", GOOD])
    utterances, rejected = read(path, limit=3)
    assert [row.row for row in utterances] == [1, 3] and [row.row for row in rejected] == [2]
    assert len(read(path, limit=99)[0]) == 3


def test_repeated_ids_are_numbered(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "m.jsonl", [GOOD | {"id": 7}, GOOD | {"id": 7}, GOOD])
    assert [row.id for row in read(path)[0]] == ["7#1", "7#2", "good"]


def test_a_missing_clip_is_rejected_when_clips_are_checked(tmp_path: Path) -> None:
    write_clip(tmp_path / "good.wav")
    utterances, rejected = read(write_manifest(tmp_path / "m.jsonl", [GOOD, {"audio": "no.wav", "text": "un"}]))
    assert len(utterances) == 2 and not rejected
    usable, (missing,) = check_clips(utterances, 30.0)
    assert len(usable) == 1 and missing.row == 2


@given(LINES, st.sampled_from([None, "test"]))
def test_each_line_of_any_file_is_a_row_or_is_rejected(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], split: str | None
) -> None:
    path = written(tmp_path_factory.mktemp("any") / "m.jsonl", PLAIN.encode() + b"\n" + b"\n".join(lines))
    try:
        utterances, rejected = read(path, split=split)
    except CorpusError as error:
        assert str(error.path) == str(path) and split
        return
    rows = sorted([row.row for row in utterances] + [row.row for row in rejected])
    blank = [
        number
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1)
        if not line.decode(errors="replace").strip()
    ]
    expected = sorted({*range(1, path.read_bytes().count(b"\n") + 2)} - {*blank})
    assert rows == expected if split is None else set(rows) <= set(expected)


def test_paths_are_relative_to_the_audio_root_and_may_have_backslashes(tmp_path: Path) -> None:
    (tmp_path / "audio/day 1").mkdir(parents=True)
    clips = [write_clip(tmp_path / "audio/day 1/a.wav"), write_clip(tmp_path / "audio/odd\\name.wav")]
    rows = [{"audio_filepath": name, "text": "bo día"} for name in ("day 1\\a.wav", "odd\\name.wav")]
    path = write_manifest(tmp_path / "rows.jsonl", [dict(row) for row in rows])
    corpus = Corpus(name="c", path=str(path), audio_root=str(tmp_path / "audio"))
    utterances, rejected = read_corpus(corpus, "gl")
    assert not rejected and [row.audio for row in utterances] == list(map(str, clips))
