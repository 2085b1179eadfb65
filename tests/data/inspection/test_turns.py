"""Split transcripts that name their speakers, and no others."""

import pytest

from escoita.data.inspection.turns import Turn, speaker_turns


def test_a_dialogue_is_split_into_turns() -> None:
    text = "Ana: Bo día.\n\n[Brais M.]: Ola!\nQue tal?\nAna: Ben: grazas.\nBrais M. : E a túa nai?\nXan:\nBen.\n"
    assert speaker_turns(text) == [
        Turn("Ana", " Bo día."),
        Turn("Brais M.", " Ola! Que tal?"),
        Turn("Ana", " Ben: grazas."),
        Turn("Brais M.", " E a túa nai?"),
        Turn("Xan", " Ben."),
    ]


def test_lines_of_one_speaker_are_one_turn() -> None:
    turns = speaker_turns("Ana: a\nAna: b\nBrais: c\nBrais: d")
    assert turns == [Turn("Ana", " a  b"), Turn("Brais", " c  d")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "Era unha vez un home.\nDixo: vou.\nDixo: non vou.\nPensou: si.\nPensou: non.",
        "Nota: un\nNota: dous\nAna: tres",
        "Ana: a\nBrais: b\nXan: c",
        "12:30 un\n12:31 dous\n12:30 tres\n12:31 catro",
        "dixo: a\npensou: b\ndixo: c\npensou: d",
        "O home que veu onte: a\nA muller que veu onte: b\nO home que veu onte: c\nA muller que veu onte: d",
        "Ana:b\nBrais:c\n" * 2,
        "A" * 100_000,
        ("a " * 50 + "\n") * 1000,
    ],
)
def test_other_texts_have_no_turns(text: str) -> None:
    assert speaker_turns(text) == []
