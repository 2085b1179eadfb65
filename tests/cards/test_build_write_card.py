"""Test edits in the card of a run."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from escoita.cards.build import build_card, write_card
from escoita.cards.editing import CardConflict
from escoita.cards.front_matter import blocks, made
from escoita.run_directory import RunDirectory
from tests.cards.samples import evaluation, rates, recipe, result, system_result, write_run


def evaluated_again(run: RunDirectory) -> None:
    evaluation(result(systems=[system_result(normalized=rates(0.04242))])).write(run.results)


def test_the_last_line_of_a_card_lists_its_blocks(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", recipe())
    card = write_card(run.path).read_text("utf-8")
    last = made(card)
    keys = [f"front.{key}" for key in ModelCard(card).data.to_dict()]
    assert last and list(last.digests) == [*keys, *(block.name for block in blocks(card))]
    assert last.end == len(card)


def test_added_text_is_kept_with_new_figures(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", recipe())
    card = (
        write_card(run.path).read_text("utf-8").replace("license: apache-2.0", "license: apache-2.0 # mine\nmine: 1")
    )
    last = blocks(card)[-1]
    run.card.write_bytes(f"{card[: last.start]}By hand. \t\r\n\n{card[last.start :]}".encode())
    evaluated_again(run)
    write_card(run.path)
    revised = run.card.read_bytes().decode()
    assert "license: apache-2.0 # mine\nmine: 1\n" in revised and "\nBy hand. \t\r\n\n<!-- escoita:begin" in revised
    fresh = blocks(build_card(run, recipe(), "quickstart/gemma4", str(run.adapter)))
    assert [(block.name, block.text) for block in blocks(revised)] == [(block.name, block.text) for block in fresh]
    assert "4.24 %" in revised and "value: 0.04242" in revised


def test_edited_figure_is_not_overwritten_without_force(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", recipe())
    better = write_card(run.path).read_bytes().replace(b"7.12 %", b"0.12 %")
    run.card.write_bytes(better)
    with pytest.raises(CardConflict) as error:
        write_card(run.path)
    (conflict, *_) = [each for each in error.value.conflicts if each.where == "section results"]
    assert "0.12 %" in conflict.theirs and "7.12 %" in conflict.ours
    assert run.card.read_bytes() == better
    assert b"0.12 %" not in write_card(run.path, force=True).read_bytes()
