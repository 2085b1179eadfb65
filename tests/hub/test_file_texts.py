"""Check that the texts of binary files, and of files in archives, are searched."""

import gzip
import io
import struct
import wave
import zipfile

import pytest
from PIL import Image, PngImagePlugin

from escoita.hub import file_texts as archives
from tests.hub.samples import HIDDEN, TOKEN, found, parquet


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_tokens_in_utf_16_are_found(encoding: str) -> None:
    data = f"one\ntwo {TOKEN}\n".encode(encoding)
    assert any(HIDDEN in line for line in found({"notes.txt": data}))
    assert found({"tokenizer.model": b"\x00\xff\xfe" + data}) == [f"tokenizer.model: {HIDDEN}"]
    assert found({"t.parquet": parquet({"raw": [b"", data]})}) == [f"t.parquet, row 2, raw: {HIDDEN}"]


def test_text_with_a_byte_order_mark_is_decoded() -> None:
    assert found({"notes.txt": "ʻgʻalaba".encode("utf-16")}) == []
    assert found({"notes.txt": f"one\n{TOKEN}".encode("utf-16")}) == [f"notes.txt:2: {HIDDEN}"]


def wav(*chunks: tuple[bytes, bytes]) -> bytes:
    sink = io.BytesIO()
    with wave.open(sink, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(range(256)) * 100)
    body = sink.getvalue()[8:] + b"".join(name + struct.pack("<I", len(data)) + data for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
def test_metadata_of_recordings_is_searched(encoding: str) -> None:
    comment = f"by {TOKEN}".encode(encoding)
    listed = b"INFOICMT" + struct.pack("<I", len(comment)) + comment
    assert found({"clip.wav": wav()}) == []
    assert found({"clip.wav": wav((b"LIST", listed))}) == [f"clip.wav: {HIDDEN}"]
    assert found({"clip.wav": wav((b"id3 ", b"ID3\x04" + comment))}) == [f"clip.wav: {HIDDEN}"]


def png(text: str, how: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    if how == "iTXt":
        info.add_itxt("Comment", text, zip=True)
    else:
        info.add_text("Comment", text, zip=how == "zTXt")
    sink = io.BytesIO()
    Image.new("RGB", (8, 8)).save(sink, "PNG", pnginfo=info)
    return sink.getvalue()


@pytest.mark.parametrize("how", ["tEXt", "zTXt", "iTXt"])
def test_metadata_of_images_is_searched(how: str) -> None:
    assert found({"page.png": png("made by hand", how)}) == []
    assert f"page.png, metadata: {HIDDEN}" in found({"page.png": png(f"by {TOKEN}", how)})
    assert found({"page.png": b"a picture"}) == ["page.png: not PNG, although its name says so"]


def zipped(**files: str | bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name if name == TOKEN else name.replace("_", "."), content)
    return sink.getvalue()


def test_archives_are_searched() -> None:
    text = f"one\n{TOKEN}\n" + "x" * 1000
    for name, data, where in (
        ("m.jsonl.gz", gzip.compress(text.encode()), "m.jsonl:2"),
        ("tokenizer.model", gzip.compress(text.encode()), "tokenizer:2"),
        ("a.zip", zipped(b="1", c_md=text), "c.md:2"),
        ("a.zip", zipped(c_zip=zipped(d_md=text)), "c.zip, d.md:2"),
        ("a.zip", zipped(c_gz=gzip.compress(zipped(d_md=text))), "c.gz, c, d.md:2"),
        ("a.zip", zipped(t_parquet=parquet({"a": [TOKEN]})), "t.parquet, row 1, a"),
        ("page.png", png("", "tEXt") + zipped(c_md=text), "c.md:2"),
    ):
        assert found({name: data}) == [f"{name}, {where}: {HIDDEN}"], where
    for data in (gzip.compress(b"words"), zipped(a_md="words")):
        assert found({"a.zip": data}) == []


def test_members_of_archives_are_refused_like_files() -> None:
    assert found({"a.zip": zipped(a_gguf=b"GGUF")}) == ["a.zip, a.gguf: weights in another format than safetensors"]
    assert found({"a.zip": zipped(a_dat=b"\xff\x00")})[0].startswith("a.zip, a.dat: neither text")
    assert found({f"{TOKEN}.gz": gzip.compress(b"words")})[0].startswith("(a name)")
    assert TOKEN not in "".join(found({"a.zip": zipped(**{TOKEN: b"\xff\x00"})}))


def test_damaged_and_encrypted_archives_are_refused() -> None:
    data = gzip.compress((f"{TOKEN}\n" + "words " * 10_000).encode())
    assert any(HIDDEN in line for line in found({"a.gz": data[:-20]}))
    with zipfile.ZipFile(sink := io.BytesIO(), "w") as archive:
        archive.writestr("a.md", "words")
    encrypted = sink.getvalue().replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01")
    encrypted = encrypted.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    assert len(found({"a.zip": encrypted})) == 1


def test_archives_over_the_limits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 2_000_000)
    monkeypatch.setattr(archives.Budget, "__init__", lambda self: self.__dict__.update(bytes=2_000_000, members=20))
    bomb = b"0" * 50_000_000
    deep = b"words"
    for _ in range(5):
        deep = gzip.compress(deep)
    for data, why in (
        (gzip.compress(bomb), "an archive of more than 2 MB"),
        (zipped(a_md=bomb), "an archive of more than 2 MB"),
        (zipped(a_gz=gzip.compress(bomb[:1_500_000]), b_gz=gzip.compress(bomb[:1_500_000])), "of more than 2 MB"),
        (zipped(**{f"a{index}": b"" for index in range(30)}), "an archive of more than"),
        (deep, "archives in archives, more than 3 deep"),
    ):
        (line,) = found({"a.zip": data})
        assert why in line and line.startswith("a.zip")
