"""Secrets that are hidden, split, encoded or packed are found as well as those that are written plainly."""

import gzip
import io
import json
import struct
import time
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from safetensors.numpy import save

from escoita.hub import file_texts as archives
from escoita.hub import secrets as rules
from tests.hub.test_scan import TOKEN, found, parquet


HEX = "0a1b2c3d4e5f6789"
MIXED = "aB3dE6gH9jK2"
# Made up, and put together here so that no scanner takes this file for a leak.
KEYS = {
    "OpenRouter Key": "sk-" + "or-v1-" + HEX * 4,
    "Groq Key": "gsk" + "_" + MIXED * 4 + "aB3d",
    "NVIDIA Key": "nv" + "api-" + MIXED * 5 + "_-aB",
    "Replicate Token": "r8" + "_" + MIXED * 3 + "a",
    "Kaggle Key": "KG" + "AT_" + HEX * 2,
    "Weights & Biases Key": "WANDB_API" + "_KEY=" + HEX * 2 + HEX[:8],
    "DigitalOcean Token": "do" + "p_v1_" + HEX * 4,
}
HIDDEN = "a secret (Hugging Face Token)"
HALVES = TOKEN[:20], TOKEN[20:]


@pytest.mark.parametrize("what, key", KEYS.items())
def test_keys_of_more_services_are_found(what: str, key: str) -> None:
    for around in ("{}", "it is {}.", "({})", '"{}"', "key: {},", "`{}`", "{}\n"):
        lines = found({"README.md": ("one\n" + around.format(key)).encode()})
        assert lines == [f"README.md:2: a secret ({what})"], around


@pytest.mark.parametrize(
    "text, what",
    [
        (json.dumps({"username": "ana", "key": HEX * 2}), "Kaggle Key"),
        (f"KAGGLE_KEY={HEX * 2}", "Kaggle Key"),
        (f"machine api.wandb.ai\n  login user\n  password {HEX * 2}{HEX[:8]}\n", "Login of a .netrc file"),
        ("do" + "o_v1_" + HEX * 4, "DigitalOcean Token"),
        ("gl" + "pat-" + MIXED * 2, "GitLab Token"),
        ("https://hooks.slack" + f".com/services/T{HEX.upper()[:8]}/B{HEX.upper()[:8]}/{MIXED * 2}", "Slack Webhook"),
    ],
)
def test_credentials_that_their_surroundings_show_are_found(text: str, what: str) -> None:
    assert found({"notes.md": text.encode()})[0].endswith(f"a secret ({what})")


def test_the_rule_set_adds_services_that_we_do_not_list() -> None:
    key = "pplx" + "-V5hbWitq8Lr2Xc0TnYk3Zd9Fe7Gm1Pj6Su4Ao5Bv8Cw2Dx3Ey7K"
    assert found({"README.md": f"said {key[:53]} there".encode()}) == ["README.md:1: a secret (perplexity-api-key)"]


@pytest.mark.parametrize("word", ["cloudflare", "adobe", "bitbucket", "tokenizer"])
@pytest.mark.parametrize("length", [32, 40, 64])
def test_digests_and_commits_are_not_taken_for_keys(word: str, length: int) -> None:
    record = json.dumps({f"{word}_revision": ("9e107d9d372bb6826bd81d3542a419d6" * 2)[:length]})
    assert found({"training.json": record.encode()}) == []


@pytest.mark.parametrize(
    "between",
    ["\n", "\r\n", "\n    ", "\\\n", '"\n    "', "' +\n  '", "\n> ", "\n\n", "\u2028", "\n# "],
    ids=repr,
)
def test_a_token_that_a_line_break_splits_is_found_where_it_begins(between: str) -> None:
    lines = found({"README.md": f"one\ntwo {between.join(HALVES)}\n".encode()})
    assert lines == [f"README.md:2: {HIDDEN}"]


@pytest.mark.parametrize(
    "character", ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\ufe0f", "\u034f", "\U000e0041"]
)
def test_invisible_characters_hide_nothing(character: str) -> None:
    for text in (character.join(HALVES), character.join(TOKEN), json.dumps(character.join(TOKEN))):
        assert found({"README.md": f"one\n{text}\n".encode()}) == [f"README.md:2: {HIDDEN}"]
    lines = found({"t.parquet": parquet({"text": ["", character.join(TOKEN)]})})
    assert lines == [f"t.parquet, row 2, text: {HIDDEN}"]


@given(
    st.integers(1, len(TOKEN) - 1), st.integers(1, len(TOKEN) - 1), st.sampled_from(["\n", "\u200b", "\\u200b", "\\n"])
)
def test_a_token_is_found_wherever_it_is_split(first: int, second: int, between: str) -> None:
    start, end = sorted((first, second))
    text = between.join(part for part in (TOKEN[:start], TOKEN[start:end], TOKEN[end:]) if part)
    assert HIDDEN in found({"README.md": f"one {text} two".encode()})[0]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_json_in_json_is_read(times: int) -> None:
    text = "".join(f"\\u{ord(character):04x}" for character in TOKEN)
    text = f'{{"a": "{text}"}}'
    for _ in range(times - 1):
        text = json.dumps({"a": text})
    assert found({"data.json": text.encode()}) == [f"data.json:1: {HIDDEN}"]
    assert found({"t.parquet": parquet({"a": [text]})}) == [f"t.parquet, row 1, a: {HIDDEN}"]
    assert found({"a.safetensors": save({"w": np.zeros(1)}, {"by": text})})


def test_an_escaped_address_with_a_password_is_found() -> None:
    text = '{"from": "https:\\/\\/ana:' + 'hunter2@example.org\\/x"}'
    assert found({"data.json": text.encode()}) == ["data.json:1: a secret (Basic Auth Credentials)"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_tokens_in_utf_16_are_found(encoding: str) -> None:
    data = f"one\ntwo {TOKEN}\n".encode(encoding)
    assert any(HIDDEN in line for line in found({"notes.txt": data}))
    assert found({"tokenizer.model": b"\x00\xff\xfe" + data}) == [f"tokenizer.model: {HIDDEN}"]
    assert found({"t.parquet": parquet({"raw": [b"", data]})}) == [f"t.parquet, row 2, raw: {HIDDEN}"]


def test_text_with_a_byte_order_mark_is_text() -> None:
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
def test_metadata_of_recordings_is_read(encoding: str) -> None:
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
def test_metadata_of_pictures_is_read(how: str) -> None:
    assert found({"page.png": png("made by hand", how)}) == []
    assert f"page.png, metadata: {HIDDEN}" in found({"page.png": png(f"by {TOKEN}", how)})
    assert found({"page.png": b"a picture"}) == ["page.png: not PNG, whatever its name says"]


def zipped(**files: str | bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name if name == TOKEN else name.replace("_", "."), content)
    return sink.getvalue()


def test_archives_are_looked_into() -> None:
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


def test_files_in_archives_are_refused_as_files_are() -> None:
    assert found({"a.zip": zipped(a_gguf=b"GGUF")}) == ["a.zip, a.gguf: weights in another format than safetensors"]
    assert found({"a.zip": zipped(a_dat=b"\xff\x00")})[0].startswith("a.zip, a.dat: neither text")
    assert found({f"{TOKEN}.gz": gzip.compress(b"words")})[0].startswith("(a name)")
    assert TOKEN not in "".join(found({"a.zip": zipped(**{TOKEN: b"\xff\x00"})}))


def test_a_damaged_archive_hides_nothing() -> None:
    data = gzip.compress((f"{TOKEN}\n" + "words " * 10_000).encode())
    assert any(HIDDEN in line for line in found({"a.gz": data[:-20]}))
    with zipfile.ZipFile(sink := io.BytesIO(), "w") as archive:
        archive.writestr("a.md", "words")
    encrypted = sink.getvalue().replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01")
    encrypted = encrypted.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    (line,) = found({"a.zip": encrypted})
    assert line.endswith("an archive that is damaged or encrypted, which is not looked into")


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
        assert why in line and line.endswith("not looked into")


@pytest.mark.parametrize(
    "text",
    [
        "the class hf_\nhub and sk-\nlearn, nvapi-\nclient",
        'demo.launch("http://localhost:7860")\n@gr.render\ndef f(): ...\n# http://localhost:7860\n@decorator',
        "see https://example.org:\n8080/@ana",
        "gradio\nhf_transfer\nsoundfile\ntransformers\naccelerate\nhuggingface-hub\n",
        "hf_transfer\nPillow\nFlask\nsoundfile2\ntransformers\naccelerate\n",
        "report_to: wandb\nbase_revision: " + HEX * 2 + HEX[:8],
        json.dumps({"key": HEX * 2}),
        "-----BEGIN PUBLIC KEY-----",
        "ACGT" * 8 + "ACCA" + "ACGT" * 8,
    ],
)
def test_lines_that_go_on_are_not_taken_for_tokens(text: str) -> None:
    assert found({"README.md": text.encode()}) == []


@pytest.mark.parametrize(
    "text",
    [
        "eyJ" * 300_000,
        "eyJaaaaaaaaaaa." * 60_000,
        "\n" * 1_000_000,
        " \n" * 500_000,
        "\\" * 1_000_000,
        "machine a login b " * 50_000,
        "://a" * 200_000,
        "xoxb-" + "1-" * 400_000,
        "/a" * 400_000,
        "[" * 100_000,
    ],
    ids=lambda text: repr(text[:15]),
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    found({"a.json": text.encode()})
    assert time.process_time() - started < 30, "seconds where less than one is usual"


def test_many_findings_take_no_time_each() -> None:
    manifest = b'{"audio_filepath": "/home/ana/corpus/a.wav"}\n' * 100_000
    assert found({"train.jsonl": manifest})[-1] == "and 99980 more"


def test_rows_and_words_that_do_not_belong_together_make_no_token() -> None:
    assert found({"t.parquet": parquet({"a": list(HALVES)})}) == []
    assert found({"vocab.txt": "\n".join([TOKEN[:6], *["abcdef"] * 20]).encode()}) == []


TABLE = {"reference": ["go to /home/page", "C:\\Users\\all"], "hypothesis": ["go to /data/page please", "/a b/c"]}


def test_a_path_in_a_transcript_is_text() -> None:
    predictions = parquet(TABLE)
    assert found({"eval/c/predictions.parquet": predictions}) == []
    assert found({"eval/c/predictions-base.parquet": predictions}) == []
    assert len(found({"eval/c/other.parquet": predictions})) == 3
    assert found({"eval/c/predictions.parquet": parquet({"id": ["/home/ana/a.wav"]})})
    told = {"reference": ["a"]}
    assert found({"predictions.parquet": parquet(told, {"escoita": json.dumps({"base": "/home/ana/gemma"})})})
    manifest = "\n".join(json.dumps({"audio_filepath": f"{n}.wav", "text": "/home/page"}) for n in range(3))
    assert found({"train.jsonl": manifest.encode()}) == []
    assert found({"train.jsonl": (manifest + '\n{"audio_filepath": "/home/ana/1.wav", "text": ""}').encode()})


def test_what_quotes_a_transcript_may_quote_its_paths() -> None:
    card = "> go to /home/page\n\n| C:\\Users\\all |"
    data = {"clip": {"text": "/elsewhere/page"}, "normalization": {"examples": [["to /srv/files", "to srv files"]]}}
    assert len(found({"README.md": card.encode()})) == 2
    files: dict[str, bytes | Path] = {"README.md": card.encode(), "eval/predictions.parquet": parquet(TABLE)}
    assert found(files) == []
    assert found({"data.json": json.dumps(data, indent=2).encode()}) == []
    assert found(files | {"recipe.yaml": b"base: /home/page2"}) == ["recipe.yaml:1: an absolute path"]
    assert found({"data.json": json.dumps(data | {"source": "/elsewhere/corpus"}).encode()})


def test_a_transcript_still_names_neither_a_secret_nor_who_pushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/net/people/ana"))
    lines = found(
        {"predictions.parquet": parquet({"reference": [f"said {TOKEN}"], "hypothesis": ["/net/people/ana/x"]})}
    )
    assert f"predictions.parquet, row 1, reference: {HIDDEN}" in lines
    assert "predictions.parquet, row 1, hypothesis: the home of who pushes" in lines


@pytest.mark.slow  # compiles all rules
def test_the_rules_need_no_folder_that_can_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (blocked := tmp_path / "file").write_text("no folder", "utf-8")
    monkeypatch.setenv("ESCOITA_CACHE", str(blocked))
    rules._scanner.cache_clear()
    try:
        assert [what for what, _, _ in rules.rule_matches(f"said {KEYS['Groq Key']} there")] == ["groq-api-key"]
    finally:
        rules._scanner.cache_clear()
