"""Check that the encodings of spreadsheets and editors are recognized."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.data.encodings import encoding_of, read_text
from escoita.errors import CorpusError
from tests.data.annotations.samples import write


@pytest.mark.parametrize(
    "language, encoding, text",
    [
        ("gl", "cp1252", "Ficheiro;Transcrición\nGravación 1.wav;bo día, mañá"),
        ("uz", "cp1251", "файл;текст\n1.wav;салом дунё"),
        ("ru", "cp1251", "файл;текст\n1.wav;доброе утро"),
        ("pl", "cp1250", "plik;tekst\n1.wav;zażółć gęślą jaźń"),
        ("pol-PL", "cp1250", "plik;tekst\n1.wav;zażółć gęślą jaźń"),
        ("uz-Cyrl", "cp1251", "файл;текст\n1.wav;салом дунё"),
        ("pl-PL", "cp1250", "plik;tekst\n1.wav;zażółć gęślą jaźń"),
        ("sr-Latn", "cp1250", "datoteka;tekst\n1.wav;čaša žuči"),
        ("az-Latn", "cp1254", "fayl;mətn\n1.wav;şəkər".replace("ə", "e")),
        ("tr", "cp1254", "dosya;metin\n1.wav;günaydın İstanbul"),
        ("el", "cp1253", "αρχείο;κείμενο\n1.wav;καλημέρα"),
        ("zh", "gb18030", "文件;文本\n1.wav;你好世界"),
        ("gl", "utf-8-sig", "Transcrición"),
        ("gl", "utf-16", "Transcrición"),
        ("gl", "utf-16-le", "Transcrición"),
        ("gl", "utf-32", "Transcrición"),
    ],
)
def test_texts_are_decoded(language: str, encoding: str, text: str, tmp_path: Path) -> None:
    assert read_text(write(tmp_path / "a.csv", text.replace("\n", "\r\n"), encoding), language) == text


@given(st.text(max_size=200))
def test_every_text_in_utf8_is_decoded(text: str) -> None:
    if "\0" not in text:
        assert text.encode().decode(encoding_of(text.encode())) == text.removeprefix("\ufeff")


def test_binary_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"RIFF\0\0\0\1\2\0x\0\0")
    with pytest.raises(CorpusError) as caught:
        read_text(path)
    assert caught.value.path == path
