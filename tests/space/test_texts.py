import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from escoita.errors import EscoitaError
from escoita.metrics.normalizers import APOSTROPHES
from escoita.recipe.schema import Space
from escoita.space.texts import LANGUAGES, fields, refusal, say, spoken_time, texts
from tests.space.stub import ROOT, heard, write_clip


def quiet(path: Path) -> None:
    soundfile.write(path, np.zeros(16_000, np.float32), 16_000)


def not_numbers(path: Path) -> None:
    soundfile.write(path, np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")


# What a visitor may send that is refused, and what the refusal is called.
SENT: list[tuple[str, Callable[[Path], object]]] = [
    ("deleted", lambda path: None),
    ("empty", lambda path: path.touch()),
    ("megabytes", lambda path: path.write_bytes(b"x" * 2_000_000)),
    ("minutes", lambda path: write_clip(path, 31)),
    ("silence", quiet),
    ("not_numbers", not_numbers),
    ("no_samples", lambda path: soundfile.write(path, np.zeros(0, np.float32), 16_000)),
    ("too_short", lambda path: write_clip(path, 0.01)),
    ("unreadable", lambda path: path.write_bytes(b"%PDF-1.7")),
]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_there_in_every_language(language: str) -> None:
    assert list(texts(language)) == list(texts("en"))
    for key, text in texts(language).items():
        assert text and text == text.strip(), key
        assert fields(text) == fields(texts("en")[key]), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_plain_words(language: str) -> None:
    for key, text in texts(language).items():
        assert not re.search(r"[<>&]|\s\s", text), key


def test_uzbek_is_spelt_with_its_own_apostrophes() -> None:
    for key, text in texts("uz").items():
        signs = {sign for sign in text if sign in APOSTROPHES}
        assert signs <= {"ʻ", "ʼ"}, key
        assert not re.search("(?<![ogOG])ʻ|(?<=[ogOG])ʼ", text), key
    assert say("transcribe.stop", "uz") == "Toʻxtatish"


def test_placeholders_are_filled() -> None:
    assert say("status.queued", place=2, size=5) == "Your place in the queue: 2 of 5"
    assert say("status.queued", "gl", place=2, size=5) == "O teu posto na cola: 2 de 5"
    with pytest.raises(KeyError):
        say("status.queued", place=2)


@pytest.mark.parametrize(
    "seconds, language, words",
    [
        (1, "en", "1 second"),
        (30, "en", "30 seconds"),
        (90, "en", "90 seconds"),
        (150, "en", "2.5 minutes"),
        (1, "gl", "1 segundo"),
        (1800, "gl", "30 minutos"),
        (30, "uz", "30 soniya"),
        (120, "uz", "2 daqiqa"),
    ],
)
def test_spoken_time(seconds: float, language: str, words: str) -> None:
    assert spoken_time(seconds, language) == words


@pytest.mark.parametrize("kind, prepare", SENT)
def test_what_a_recording_is_refused_for_is_told_in_every_language(
    tmp_path: Path, kind: str, prepare: Callable[[Path], object]
) -> None:
    for name in ("clip.wav", "a: the file is empty.wav", "{name} {0}.wav"):
        prepare(tmp_path / name)
        with pytest.raises(EscoitaError) as caught:
            heard(tmp_path / name, Space(max_megabytes=1.5))
        message = str(caught.value)
        assert refusal(message, "en") == message
        for language in ("gl", "uz"):
            beginning = texts(language)[f"refusal.{kind}"].partition("{")[2].partition("}")[2][:12].partition("{")[0]
            assert refusal(message, language).startswith(name + beginning)
            assert "{" not in refusal(message, language).removeprefix(name)


def test_nothing_sent() -> None:
    with pytest.raises(EscoitaError) as caught:
        heard(None)
    assert refusal(str(caught.value), "gl").startswith("Aínda non hai nada que transcribir")


def test_a_limit_within_a_refusal_is_told_in_the_same_language() -> None:
    message = "long.ogg: longer than the 2.5 minutes that this page takes"
    assert refusal(message, "gl") == "long.ogg: máis longo que o que admite esta páxina: 2.5 minutos"
    assert refusal(message, "uz") == "long.ogg: bu sahifa qabul qiladigan 2.5 daqiqa dan uzun"


@given(st.text())
def test_other_messages_stay_as_they_are(message: str) -> None:
    assert refusal(f"¡{message}!", "gl") == f"¡{message}!"


def test_every_refusal_is_found_again_by_its_words() -> None:
    for key, text in texts("en").items():
        if key.startswith("refusal."):
            english = dict.fromkeys(fields(text), "7")
            galician = dict(english)
            if "time" in english:
                english["time"], galician["time"] = "7 minutes", "7 minutos"
            assert refusal(say(key, **english), "gl") == say(key, "gl", **galician)


def test_every_text_is_shown_somewhere() -> None:
    paths = [*(ROOT / "escoita/space").rglob("*.py"), *(ROOT / "space/templates").iterdir()]
    code = "".join(path.read_text("utf-8") for path in paths)
    # The others are found again by their words, and put together.
    assert [key for key in texts("en") if key not in code and key.split(".")[0] not in ("refusal", "time")] == []
