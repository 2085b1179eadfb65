"""Check that the columns of tables are found by their values, in any order, encoding and language."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.inspection.columns import recognize, split_name
from escoita.data.inspection.listing import Listing
from escoita.data.inspection.tables import Table, read_tables


SENTENCES = ["bo día a todos", "ata mañá", "é tarde", 'dixo "ola"', "que tal; ben", "un, dous | tres", "chove moito"]
HEADERS = [
    ("Nome do ficheiro", "Transcrición", "Falante"),
    ("file", "sentence", "speaker_id"),
    ("файл", "предложение", "диктор"),
    ("dosya", "metin", "konuşmacı"),
    ("fayl", "matn", "gapiruvchi"),
    ("x", "y", "client_id"),
]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for index in range(len(SENTENCES)):
        (folder / f"Gravación {index}.wav").write_bytes(b"")
    return folder


@given(
    order=st.permutations(["audio", "text", "speaker", "date", "empty"]),
    header=st.sampled_from(HEADERS),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    suffix=st.booleans(),
    ending=st.sampled_from(["\n", "\r\n"]),
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=30), min_size=7, max_size=7
    ),
)
def test_columns_are_found(
    recordings: Path, order: list[str], header: tuple[str, str, str], delimiter: str, encoding: str, suffix: bool,
    ending: str, texts: list[str],
) -> None:  # fmt: skip
    titles = dict(zip(("audio", "text", "speaker"), header, strict=True)) | {"date": "Data", "empty": "N"}
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=ending)
    writer.writerow([titles[name] for name in order])
    transcripts = [f"{sentence} {extra}" for sentence, extra in zip(SENTENCES, texts, strict=True)]
    for index, text in enumerate(transcripts):
        name = f"Gravación {index}.wav" if suffix else f"Gravación {index}"
        row = {"audio": name, "text": text, "speaker": f"s{index % 2}", "date": f"2024-03-0{index + 1}", "empty": ""}
        writer.writerow([row[name] for name in order])
    path = recordings / "table.csv"
    path.write_bytes(buffer.getvalue().encode(encoding))
    (table,) = read_tables(path, "gl")
    columns = recognize(table, Listing(recordings))
    assert columns is not None
    assert (order[columns.audio], order[columns.text]) == ("audio", "text")
    assert order[columns.names["speaker"]] == "speaker" and None not in columns.paths
    assert [row[columns.text] for _, row in table.rows[1:]] == transcripts


@given(st.binary(max_size=300), st.sampled_from([".csv", ".tsv", ".txt", ".json", ".jsonl"]))
def test_any_content_is_a_table_or_not(recordings: Path, content: bytes, suffix: str) -> None:
    from escoita.errors import EscoitaError

    path = recordings / f"any{suffix}"
    path.write_bytes(content)
    try:
        tables = read_tables(path, "gl")
    except EscoitaError as error:
        assert error.path == path
    else:
        for table in tables:
            recognize(table, Listing(recordings))
    path.unlink()


def test_a_table_without_a_header_is_recognized(recordings: Path) -> None:
    rows = [(index + 1, [f"Gravación {index}", text, text]) for index, text in enumerate(SENTENCES)]
    columns = recognize(Table(recordings / "metadata.csv", rows), Listing(recordings))
    assert columns is not None and (columns.audio, columns.header) == (0, []) and len(columns.paths) == 7


def test_other_tables_are_not_recognized(recordings: Path) -> None:
    rows = [(index + 1, [str(index), "12", "2024"]) for index in range(9)]
    assert recognize(Table(recordings / "numbers.csv", rows), Listing(recordings)) is None
    assert recognize(Table(recordings / "empty.csv", []), Listing(recordings)) is None


def test_columns_of_splits_are_found_by_their_values(recordings: Path) -> None:
    rows = [
        (index + 1, [f"Gravación {index}.wav", text, "test" if index > 4 else "train"])
        for index, text in enumerate(SENTENCES)
    ]
    columns = recognize(Table(recordings / "t.csv", rows, ["a", "b", "c"]), Listing(recordings))
    assert columns is not None and columns.names == {"split": 2}


@pytest.mark.parametrize(
    "word, split",
    [
        ("train-clean-100", "train"),
        ("dev", "validation"),
        ("TEST", "test"),
        ("validated", None),
        ("testing-2", "test"),
    ],
)
def test_words_name_splits(word: str, split: str | None) -> None:
    assert split_name(word) == split
