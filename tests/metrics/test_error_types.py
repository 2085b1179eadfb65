import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.metrics.error_types import FAULTS, find_faults


GALICIAN = [
    "Onte pola tarde fomos ata a praia e comemos o polbo que trouxera meu avó.",
    "A nena di que non quere ir á escola porque lle doe a barriga.",
    "É certo que o Concello aínda non pagou as obras da ponte vella.",
    "Claro que si, aquí está o libro; colle del o que che faga falta.",
    "O audio que me mandaches non se escoita ben, repíteo máis amodo.",
    "Eses rapaces son os fillos da miña curmá, a que vive en Vigo.",
    "Non, non, non! Iso non o podo facer eu só.",
    "Síntoo, non podo falar agora; chámame despois de xantar.",
    "Se es de fóra, o mellor é que vaias con alguén que coñeza o monte.",
    "Todo o mundo sabe como se chama, mais ninguén lle pon nome.",
]
UZBEK = [
    "Bugun ertalab bozordan non, sut va toʻrt kilogramm olma oldim.",
    "Men bu kitobni oʻqib chiqdim, ammo u menga yoqmadi.",
    "Ukam bilan onam har yakshanba kuni bogʻga ishlagani boradi.",
    "Sen kecha qayerda eding, nega qoʻngʻiroqlarimga javob bermading?",
    "Uning oʻgʻli Samarqanddagi ini bilan yashaydi.",
    "Kechirasiz, men sizni eshitmayapman, balandroq gapiring.",
    "Yoʻq, yoʻq, yoʻq, bunday emas, men bunga qarshiman.",
    "Albatta, mana sizga choy, iching, sovib qolmasin.",
    "Maʼno jihatidan bu ikki soʻz bir-biriga juda yaqin.",
    "U yerda hech kim yoʻq edi, shuning uchun biz qaytib keldik.",
]
OTHERS = {
    "English": "He said that they would be there when the rain was over.",
    "Spanish": "Ellos no saben cuando llega el tren porque nadie se lo ha dicho ya.",
    "Portuguese": "Não sei quando eles vão chegar, mas você também pode esperar.",
    "French": "Nous ne savons pas quand il est parti avec les enfants.",
    "Italian": "Non so quando è partita, ma questa è la casa della nonna.",
    "German": "Ich weiß nicht, wann der Zug kommt, aber wir warten noch.",
    "Russian": "Мы не знаем, когда он приехал, но это было уже поздно.",
    "Turkish": "Bunu daha sonra yaparım, ama şimdi çok işim var.",
    "Indonesian": "Saya tidak tahu kapan mereka akan datang dari pasar itu.",
}


def faults(reference: str, hypothesis: str, corpus: list[str] | None = None) -> set[str]:
    """Return the faults of one hypothesis; its reference is the first of a corpus."""
    references = [reference, *(corpus or [])]
    found = find_faults(references, [hypothesis, *references[1:]], [False] * len(references))
    assert not any(kind[1:].any() for kind in found.values())
    return {fault for fault, kind in found.items() if kind[0]}


def test_shape_and_order() -> None:
    found = find_faults(["bir", "ikki", ""], ["bir", "uch", ""], [True, False, True])
    assert tuple(found) == FAULTS
    assert all(kind.shape == (3,) and kind.dtype == bool for kind in found.values())
    np.testing.assert_array_equal(found["truncated"], [True, False, True])
    assert not any(found[fault].any() for fault in FAULTS[:-1])
    assert all(len(kind) == 0 for kind in find_faults([], [], []).values())


@given(st.lists(st.text()))
def test_a_correct_hypothesis_has_no_faults(texts: list[str]) -> None:
    assert not any(kind.any() for kind in find_faults(texts, texts, [False] * len(texts)).values())


@given(st.lists(st.tuples(st.text(), st.text())))
def test_any_text_is_accepted(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert set(find_faults(references, hypotheses, [False] * len(pairs))) == set(FAULTS)


@pytest.mark.parametrize("sentences", [GALICIAN, UZBEK])
def test_another_sentence_of_the_language_has_no_faults(sentences: list[str]) -> None:
    """All words are wrong, and the corpus has one utterance, which contains few words of the language."""
    for reference in sentences:
        for hypothesis in sentences:
            assert faults(reference, hypothesis) == set()


@pytest.mark.parametrize(
    "reference, hypothesis, empty",
    [
        ("ola", "", True),
        ("ola", " … ", True),
        ("5", "?", True),
        ("ola", "5", False),
        ("", ".", False),
        ("¿?", "", False),
        ("", "ola", False),
    ],
)
def test_empty(reference: str, hypothesis: str, empty: bool) -> None:
    assert faults(reference, hypothesis) == ({"empty"} if empty else set())


@pytest.mark.parametrize(
    "hypothesis, loop",
    [
        ("xa vou vou vou vou", True),
        ("xa vou vou vou", False),
        ("Vou, vou. VOU… vou!", True),
        ("a luz do salón a luz do salón a luz do salón a luz do", False),
        ("a luz do salón a luz do salón a luz do salón a luz do salón", True),
        ("un dous tres catro cinco seis sete oito " * 4, True),
        ("un dous tres catro cinco seis sete oito nove " * 4, False),  # nine words
        ("non si non si non si non si", True),
        ("non e non e si e non e", False),
        ("a" * 12, True),
        ("a" * 11, False),
        ("ha" * 6, True),
        ("haha haha haha", False),
        ("blabla" * 4, True),
        ("tictac" * 3, False),
        ("vou-vou-vou-vou", True),
    ],
)
def test_loop(hypothesis: str, loop: bool) -> None:
    assert faults("acende a luz do salón", hypothesis) == ({"loop"} if loop else set())


@pytest.mark.parametrize(
    "reference, hypothesis, loop",
    [
        ("vou vou vou vou", "voi vou vou vou vou", False),
        ("vou vou vou vou", "vou vou vou vou vou", True),
        ("Non, non, non, non, non!", "non non non non", False),
        ("brrrrrrrrrrrrrrr", "brrrrrrrrrrrrr", False),
    ],
)
def test_a_phrase_that_the_reference_repeats_is_not_a_loop(reference: str, hypothesis: str, loop: bool) -> None:
    assert faults(reference, hypothesis) == ({"loop"} if loop else set())


@pytest.mark.parametrize(
    "reference, hypothesis, wrong",
    [
        ("chiroqni yoq", "чироқни ёқ", True),
        ("chiroqni yoq", "चिरागनी योक", True),
        ("chiroqni yoq", "请开灯", True),
        ("chiroqni yoq", "chiroqni yoқ", False),
        ("chiroqni yoq", "12 30", False),
        ("12 30", "чироқни ёқ", False),
        ("电灯", "ひらがな", False),
        ("ひらがな", "latin", True),
    ],
)
def test_wrong_script(reference: str, hypothesis: str, wrong: bool) -> None:
    assert faults(reference, hypothesis) == ({"wrong_script"} if wrong else set())


def test_both_scripts_of_a_corpus_are_correct() -> None:
    assert faults("chiroqni yoq", "чироқни ёқ", ["деразани оч", "eshikni yop"]) == set()
    assert faults("chiroqni yoq", "чироқни ёқ", ["оч", *["eshikni yop"] * 50]) == {"wrong_script"}
    assert faults("chiroqni yoq", "请开灯", ["деразани оч", "eshikni yop"]) == {"wrong_script"}


@pytest.mark.parametrize("corpus", [GALICIAN, UZBEK])
@pytest.mark.parametrize("language", OTHERS)
def test_wrong_language(corpus: list[str], language: str) -> None:
    found = faults(corpus[0], OTHERS[language], corpus[1:])
    assert found == {"wrong_language"} | ({"wrong_script"} if language == "Russian" else set())


@pytest.mark.parametrize("language", OTHERS)
def test_the_language_of_the_corpus_is_correct(language: str) -> None:
    assert faults("Vigo", OTHERS[language], [OTHERS[language]]) - {"wrong_script"} == set()


def test_few_words_of_another_language() -> None:
    assert faults("abre o disco", "the disco") == set()
    assert faults("abre o disco", "abre the disco") == set()
    assert faults("abre o disco", "abre the and") == {"wrong_language"}
    assert faults("pon the wall and the dream", "pon the wol and the drim agora") == set()


def test_rare_words_of_a_large_corpus_may_be_of_another_language() -> None:
    song = "pon the wall"
    large = [f"{song} agora", *GALICIAN * 300]
    assert faults("nada", "this is the end", large) == {"wrong_language"}
    assert faults("nada", "the and the of", [f"{song} agora", *GALICIAN]) == {"wrong_language"}
    assert faults("nada", "the wall the dream and", [song] * 3 + GALICIAN) == set()


@pytest.mark.parametrize(
    "hypothesis",
    [
        "Sure, here is the transcription of the audio.",
        "Certainly! Here's what I hear",
        "I'm sorry, but I can't help with that",
        "I’m sorry, I cannot transcribe this",
        "I cannot hear anything.",
        "As an AI language model",
        "The audio says: acende a luz",
        "the speaker is talking about lamps",
        "Here's the transcription: acende a luz",
        "Transcription: acende a luz",
        "**Transcription:** acende a luz",
        "```\nacende a luz\n```",
        "# Transcrición",
        "“Note: acende a luz",
        "acende a luz\n\nNote: The audio is unclear.",
        "Claro, aquí tienes la transcripción: acende a luz",
        "Lo siento, no puedo escuchar el audio",
        "La transcripción del audio es: acende a luz",
        "Desculpe, não consigo ouvir",
        "Transcrição: acende a luz",
        "Конечно! Вот расшифровка",
        "Извините, но я не могу",
        "Транскрипция аудио: чироқ",
        "Tabii ki, işte metin",
        "İşte transkripsiyon",
        "Üzgünüm, ancak bunu yapamam",
        "Transkripsiya: chiroqni yoq",
    ],
)
def test_chat_like(hypothesis: str) -> None:
    assert "chat_like" in faults("acende a luz", hypothesis)


@pytest.mark.parametrize(
    "hypothesis",
    [
        "acende a luz por favor",
        "O audio di que acende a luz",
        "a nota: acende a luz",
        "acende: a luz",
        "Surely here",
        "sorry",
        "acende a luz note: si",
        "* acende a luz",
        "Claro que acende",
        "Elbatta ishte",
        "transkripsiya qil",
    ],
)
def test_text_that_is_not_chat_like(hypothesis: str) -> None:
    assert "chat_like" not in faults("acende a luz", hypothesis)


def test_a_reference_that_is_chat_like() -> None:
    assert faults("The audio is bad", "the audio was bad") == set()
    assert faults("Claro, aquí está o meu can", "Claro, aquí está o meu pan") == set()
    assert faults("I am sorry, I can't", "I'm sorry, I can") == set()


def test_a_hypothesis_may_have_several_faults() -> None:
    hypothesis = "I'm sorry, I cannot hear you. " * 4
    assert faults("чироқни ёқ", hypothesis) == {"loop", "wrong_script", "wrong_language", "chat_like"}


def test_all_sequences_must_have_one_length() -> None:
    for references, hypotheses, truncated in ((["a"], [], []), (["a"], ["a"], []), ([], ["a"], [False])):
        with pytest.raises(ValueError):
            find_faults(references, hypotheses, truncated)


@pytest.mark.parametrize("piece", ["\n", " ", " \n", '"\n', "a ", "ab", "note ", "a\n"])
def test_a_long_repetitive_text_is_not_processed_in_quadratic_time(piece: str) -> None:
    """Quadratic time would be minutes."""
    find_faults(["chiroqni yoq"], [piece * (100_000 // len(piece))], [False])


def test_blanks_and_quotation_marks_before_an_answer_are_skipped() -> None:
    for blanks in (" \n", "\n\n \t", "\u2028", "\r\n", '"\n“ '):
        assert find_faults(["yoq"], [f"{blanks}Sure, here is the transcript: yoq"], [False])["chat_like"][0]
