"""Split transcripts that name their speakers, and no others."""

import pytest

from escoita.data.inspection.turns import Turn, single_names, speaker_turns


def test_a_dialogue_is_split_into_turns() -> None:
    text = "Ana: Bo día.\n\n[Brais M.]: Ola!\nQue tal?\nAna: Ben: grazas.\nBrais M. : E a túa nai?\nBen.\n"
    assert speaker_turns(text) == [
        Turn("Ana", " Bo día."),
        Turn("Brais M.", " Ola! Que tal?"),
        Turn("Ana", " Ben: grazas."),
        Turn("Brais M.", " E a túa nai? Ben."),
    ]


def test_a_name_that_begins_one_line_is_text() -> None:
    text = "Ana: Bo día.\nLembra: nunca.\nBrais: Ola.\nEntón ela dixo: vaite.\nAna: Si.\nBrais: Non.\nXan:\nBen."
    assert speaker_turns(text) == [
        Turn("Ana", " Bo día. Lembra: nunca."),
        Turn("Brais", " Ola. Entón ela dixo: vaite."),
        Turn("Ana", " Si."),
        Turn("Brais", " Non. Xan: Ben."),
    ]
    assert single_names(text) == ["Lembra", "Entón ela dixo", "Xan"]


def test_no_space_follows_a_full_width_colon() -> None:
    turns = speaker_turns("安娜：你好\n小明：你好！\n安娜：再见\n小明：再见")
    assert turns == [Turn("安娜", "你好"), Turn("小明", "你好！"), Turn("安娜", "再见"), Turn("小明", "再见")]


@pytest.mark.parametrize("times", [("[00:12]", "[00:15]"), ("00:12:01.250", "00:12:03,5"), ("(1:02)", "(1:03)")])
def test_a_time_may_precede_the_name(times: tuple[str, str]) -> None:
    text = "".join(f"{times[0]} Ana: a\n{times[1]} Brais: b\n" for _ in range(2))
    assert [turn.speaker for turn in speaker_turns(text)] == ["Ana", "Brais"] * 2
    assert not any(character.isdigit() for turn in speaker_turns(text) for character in turn.text)


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
