from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.rows import SCHEMA, Rejected, Utterance, Utterances, batched


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SECONDS = st.none() | st.floats(0, 1e4)
ROWS = st.lists(
    st.builds(
        Utterance,
        id=st.sampled_from(["a", "b", "a#1", "a#2", "b#1"]) | WORDS,
        audio=WORDS,
        text=WORDS,
        corpus=WORDS,
        language=WORDS,
        source=WORDS,
        row=st.integers(0, 2**40),
        split=WORDS,
        speaker=WORDS,
        gender=WORDS,
        accent=WORDS,
        offset=SECONDS,
        duration=SECONDS,
        embedded=st.none() | st.binary(max_size=9),
        audio_seconds=st.floats(0, 1e4),
    ),
    max_size=12,
)


def row(id: str = "a", **fields: object) -> Utterance:
    defaults = {"audio": f"{id}.wav", "text": "un", "corpus": "c", "language": "gl", "source": "m.jsonl", "row": 1}
    return Utterance(id=id, **(defaults | fields))  # type: ignore[arg-type]


@given(ROWS)
def test_rows_are_stored_without_changes(rows: list[Utterance]) -> None:
    table = Utterances.of(rows)
    assert list(table) == rows == [table[index] for index in range(len(rows))]
    assert list(reversed(table)) == rows[::-1] == [table[-1 - index] for index in range(len(rows))]
    for name in SCHEMA.names:
        assert table.column(name) == list(table.each(name)) == [getattr(each, name) for each in rows]


@given(ROWS, st.data())
def test_selections_are_equal_to_those_of_a_list(rows: list[Utterance], data: st.DataObject) -> None:
    table, plain = Utterances.of(rows), list(rows)
    for _ in range(3):
        indices = st.lists(st.integers(0, len(plain) - 1), max_size=9) if plain else st.just([])
        chosen, mask = data.draw(indices), data.draw(st.lists(st.booleans(), min_size=9, max_size=9))
        table, plain = table.take(chosen), [plain[index] for index in chosen]
        assert list(table) == plain
        table = table.where(mask[: len(plain)])
        plain = [each for each, selected in zip(plain, mask, strict=False) if selected]
        bounds = data.draw(st.slices(len(plain)))
        table, plain = table[bounds], plain[bounds]
        assert list(table) == plain and len(table) == len(plain)


@given(ROWS, ROWS, st.data())
def test_concatenated_rows_keep_their_order(
    left: list[Utterance], right: list[Utterance], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(left))))
    joined = Utterances.concatenated([Utterances.of(left).take(order), Utterances.of(right)])
    assert list(joined) == [*(left[index] for index in order), *right]
    assert joined.table.schema == SCHEMA


@given(ROWS)
def test_only_ids_change_to_become_unique(rows: list[Utterance]) -> None:
    renamed = list(Utterances.of(rows).with_unique_ids())
    before, after = [each.id for each in rows], [each.id for each in renamed]
    assert len(set(after)) == len(after)
    assert [replace(each, id="") for each in renamed] == [replace(each, id="") for each in rows]
    for old, new in zip(before, after, strict=True):
        assert new.startswith(old) and (new == old or before.count(old) > 1 or old.count("#"))


@pytest.mark.parametrize(
    "before, after",
    [
        ("a b c", "a b c"),
        ("a b a", "a#1 b a#3"),
        ("a a a#1", "a#1#1 a#2 a#1#3#3"),
    ],
)
def test_numbers_of_repeated_ids(before: str, after: str) -> None:
    rows = Utterances.of([row(id) for id in before.split()]).with_unique_ids()
    assert rows.column("id") == after.split()


def test_measured_lengths_are_stored_with_their_rows() -> None:
    rows = Utterances.of([row("a"), row("b"), row("c")])
    measured = rows.take([2, 0]).with_audio_seconds([3.0, 1.0])
    assert [(each.id, each.audio_seconds) for each in measured] == [("c", 3.0), ("a", 1.0)]
    assert rows.column("audio_seconds") == [0.0, 0.0, 0.0]


def test_an_index_out_of_range() -> None:
    rows = Utterances.of([row("a"), row("b")])[:1]
    for index in (1, -2):
        with pytest.raises(IndexError):
            rows[index]
    assert row("b") not in rows and row("a") in rows


def test_empty_selections() -> None:
    for rows in (Utterances.of([]), Utterances.concatenated([]), Utterances.of([row()]).where([False])):
        assert len(rows) == 0 and list(rows) == [] and rows.column("id") == []
        assert list(rows.with_unique_ids()) == list(rows.with_audio_seconds([])) == []


def test_a_table_may_lack_columns_and_values() -> None:
    table = pa.table({"id": ["a", "b"], "text": pa.array(["un", None], pa.large_string()), "row": [1, None]})
    first, second = Utterances.from_table(table)
    assert first == Utterance("a", "", "un", "", "", "", 1)
    assert second == Utterance("b", "", "", "", "", "", 0)
    assert (first.offset, first.duration, first.embedded, first.audio_seconds) == (None, None, None, 0.0)


SELECTIONS: dict[str, Callable[[Utterances], Utterances]] = {
    "take": lambda rows: rows.take([3, 1, 1]),
    "where": lambda rows: rows.where([True] * 3 + [False]),
    "slice": lambda rows: rows[::2],
    "concatenated": lambda rows: Utterances.concatenated([rows, rows.take([0])]),
    "with unique ids": lambda rows: rows.take([0, 0]).with_unique_ids(),
    "with lengths": lambda rows: rows.with_audio_seconds(np.ones(4)),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_selections_do_not_copy_recordings(name: str) -> None:
    rows = Utterances.of(row(id, embedded=bytes([index]) * 1_000_000) for index, id in enumerate("abcd"))
    before = pa.total_allocated_bytes()
    selected = SELECTIONS[name](rows)
    assert pa.total_allocated_bytes() - before < 100_000
    for each in selected:
        assert each.embedded == bytes(["abcd".index(each.id[0])]) * 1_000_000


def test_recordings_in_several_arrays_are_found() -> None:
    """There are more rows than one block."""
    rows = Utterances.of(row(str(index), embedded=str(index).encode()) for index in range(20_000))
    assert rows.table["embedded"].num_chunks > 1
    assert [rows[index].embedded for index in (0, 8_191, 8_192, 19_999)] == [b"0", b"8191", b"8192", b"19999"]
    assert all(each.embedded == each.id.encode() for each in rows[::-1])


def test_all_blocks_but_the_last_have_the_requested_size() -> None:
    blocks = batched((row(str(index)) for index in range(7)), 3)
    assert [[each.id for each in block] for block in blocks] == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


def test_the_public_text_of_a_rejected_row_contains_no_folder() -> None:
    assert Rejected("/srv/m.jsonl", 3, "/srv/a.wav", "no such file").public() == "m.jsonl:3: a.wav: no such file"
    assert Rejected("uz/m.jsonl", 3, "uz/a.wav", "no such file").public() == "uz/m.jsonl:3: uz/a.wav: no such file"
