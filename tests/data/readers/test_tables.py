import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.readers.tables import read_delimited


FIELDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=8)
ROWS = st.lists(st.lists(FIELDS, min_size=2, max_size=4), max_size=6)


@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.sampled_from(",;\t"))
def test_a_table_of_a_spreadsheet_is_read_with_line_numbers(rows: list[list[str]], end: str, separator: str) -> None:
    table = io.StringIO(newline="")
    rows = [["audio", "text"], *rows]
    csv.writer(table, lineterminator=end, delimiter=separator).writerows(rows)
    lines, starts = 1, []
    for row in rows:
        starts.append(lines)
        lines += 1 + sum(field.count("\n") for field in row)
    read = list(read_delimited(io.BytesIO(table.getvalue().encode()), ".csv"))
    assert read == list(zip(starts, rows, strict=True))


@pytest.mark.parametrize(
    "header, fields",
    [
        (b"audio,text;raw", ["audio", "text;raw"]),
        (b'"audio";"speaker, age"', ["audio", "speaker, age"]),
        (b'"first;\nsecond",text', ["first;\nsecond", "text"]),
        (b"audio", ["audio"]),
    ],
)
def test_the_separator_is_found_in_the_header(header: bytes, fields: list[str]) -> None:
    assert list(read_delimited(io.BytesIO(header), ".csv")) == [(1, fields)]


@given(st.lists(st.lists(FIELDS.filter(lambda field: not set(field) & set("\t\n")), min_size=2, max_size=4)))
def test_a_tsv_is_split_at_tabs_only(rows: list[list[str]]) -> None:
    table = "\n".join("\t".join(row) for row in rows)
    assert list(read_delimited(io.BytesIO(table.encode()), ".tsv")) == list(enumerate(rows, start=1))


@given(st.lists(st.sampled_from([b"a,b", b'a,"b', b'"a",b"', b"\xff,a", b"", b'a,"b""', b"a\rb,c", b'"', b"a,\0"])))
def test_each_line_belongs_to_one_record_or_is_blank(lines: list[bytes]) -> None:
    read = list(read_delimited(io.BytesIO(b"\n".join(lines)), ".csv"))
    numbers = [number for number, _ in read]
    assert numbers == sorted(set(numbers)) and all(lines[number - 1] for number in numbers)
    spanned = sum(field.count("\n") for _, fields in read if isinstance(fields, list) for field in fields)
    assert len(read) + spanned + lines.count(b"") >= len(lines)
