from pathlib import Path

from escoita.evaluation.presentation import (
    FAULTS,
    conditions_text,
    decoding_text,
    decodings,
    other_base_note,
    sources_of,
)
from escoita.records.evaluation import Decoding, Faults
from tests.cards.card_samples import make_card
from tests.cards.samples import evaluation, system
from tests.evaluation.report_samples import HALF, REFERENCES, WRONG, evaluated


def test_systems_are_grouped_by_their_decoding(tmp_path: Path) -> None:
    record = evaluated(tmp_path, clips={"adapter": HALF, "base": WRONG})
    assert decodings(record) == "greedy"
    adapter, base = record.systems
    systems = [adapter, base.model_copy(update={"decoding": Decoding(num_beams=5)})]
    assert decodings(record.model_copy(update={"systems": systems}), str) == "greedy (adapter), 5 beams (base)"


def test_decoding_of_a_server_and_of_a_model_with_penalties() -> None:
    server = system("whisper", decoding=Decoding(num_beams=None))
    assert decoding_text(server) == "chosen by the server" and conditions_text(server) == ""
    local = system(
        "whisper",
        decoding=Decoding(language="clip", segment_seconds=30, penalties={"repetition_penalty": 1.2}),
    )
    assert decoding_text(local) == "greedy, repetition_penalty 1.2"
    assert conditions_text(local) == "given the language of each clip; at most 30 s at once"


def test_every_fault_of_the_record_has_a_name() -> None:
    assert list(FAULTS) == list(Faults.model_fields)


def test_baselines_are_named_by_their_source(tmp_path: Path) -> None:
    record = evaluated(tmp_path, clips={"adapter": HALF, "base": WRONG, "whisper-tiny": REFERENCES})
    assert sources_of(record) == {"adapter": "the adapter", "base": "the base", "whisper-tiny": "user/whisper-tiny"}


def test_the_note_on_another_base_equals_that_of_the_card(tmp_path: Path) -> None:
    assert other_base_note(system()) == ""
    other = system(base_sha256="ef" * 32, expected_base_sha256="ab" * 32, base_commit="f" * 40)
    note = other_base_note(other)
    record = evaluation()
    measured = record.model_copy(update={"systems": [other, *record.systems[1:]]})
    assert f"**Different base model:** {note}" in make_card(tmp_path, evaluation_record=measured)
    assert f"`./quickstart/gemma4` at commit `{'f' * 40}`" in note
    assert note.endswith(f"weights have the SHA-256 `{'ab' * 32}`.")
