"""
Compare the texts of a card with `snapshot.md`, a card in which every section and sentence occurs.

A change of the texts must be intended. `ESCOITA_GOLDEN=write pytest tests/cards/test_card_snapshot.py` accepts it.
"""

import os
from pathlib import Path
from typing import Any

from escoita.cards.build import build_card
from escoita.records.evaluation import SystemResult
from tests.cards.card_samples import TWO
from tests.cards.samples import (
    data,
    difference,
    evaluation,
    leak,
    probe,
    rates,
    recipe,
    result,
    system,
    system_result,
    validated_training,
    write_run,
)
from tests.cards.test_sections_example import add_predictions


SNAPSHOT = Path(__file__).with_name("snapshot.md")


def counted(systems: list[SystemResult]) -> list[SystemResult]:
    """Return results of this version, which counts unusable hypotheses."""
    return [each.model_copy(update={"unusable": each.faults.empty + each.faults.loop}) for each in systems]


def full_card(path: Path) -> str:
    """Return a card with every section, two corpora, four systems, failures and train/test overlap."""
    texts = ("description", "intended_use", "out_of_scope", "limitations", "base_terms", "contact", "acknowledgements")
    chosen = recipe(card=dict.fromkeys((*texts, "funding", "developers"), "Text of the author."), corpora=TWO)
    over_speakers = {"wer_speaker_ci95": (0.0123, 0.3456), "cer_speaker_ci95": (0.0012, 0.1234)}
    systems = [
        system_result(normalized=rates().model_copy(update=over_speakers), raw=rates(0.2), loop=2),
        system_result("base", raw=rates(1.5), chat_like=5),
        system_result("whisper", rates(0.25)),
        system_result("earlier", rates(0.0625)),
    ]
    differences = [
        difference("base", speaker_ci95=(-1.5, 0.5), verdict="better for these speakers"),
        difference("whisper", speaker_ci95=(-1.4, -0.9)),
        difference("earlier"),
    ]
    same = difference(wer=0.001, ci95=(-0.02, 0.0225), p_value=0.8, verdict="no measurable difference")
    known: dict[str, Any] = {"speakers": 5, "few_speakers": True}
    first = result(
        systems=counted(systems), differences=differences, word_share=0.7401, merged=3, split=4, rejected=7, **known
    )
    pair = counted([system_result(), system_result("base")])
    second = result("more", pair, differences=[same], word_share=0.2599, speakers=12, unit="speaker", units=12)
    record = evaluation(first, second, normalizer="uzbek", probes=[probe("adapter", 1), probe("base", 11)])
    record = record.model_copy(
        update={
            "pooled": first.model_copy(update={"name": "pooled"}),
            "systems": [
                *record.systems[:2],
                system("whisper", base="openai/whisper"),
                system("earlier", adapter="ana/small@v1"),
            ],
        }
    )
    overlap = data(leak("transcript", 40), leak("speaker", 0, compared=0), leak("audio", 0))
    run = write_run(path, chosen, validated_training(rejected=["a", "b"], energy_joules=4.5e6), record, overlap)
    add_predictions(run, [("one", "won", 1.0), ("two", "", 2.0)])
    add_predictions(run, [("one", "one", 1.0)], "more")
    for name in ("wer-by-corpus.svg", "wer-by-duration.svg", "wer-distribution.svg"):
        (run.eval / name).write_text("<svg/>")
    return build_card(run, chosen, "user/base", "user/adapter")


def test_texts_of_a_full_card(tmp_path: Path) -> None:
    card = full_card(tmp_path)
    if os.environ.get("ESCOITA_GOLDEN") == "write":
        SNAPSHOT.write_text(card, "utf-8")
    assert card == SNAPSHOT.read_text("utf-8")
