"""Check that secrets are found however they are written: split, escaped or with invisible characters."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from escoita.hub import secrets as rules
from tests.hub.samples import HALVES, HEX, HIDDEN, KEYS, MIXED, TOKEN, found, parquet


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
def test_credentials_are_found_by_their_context(text: str, what: str) -> None:
    assert found({"notes.md": text.encode()})[0].endswith(f"a secret ({what})")


def test_the_rule_set_adds_other_services() -> None:
    key = "pplx" + "-V5hbWitq8Lr2Xc0TnYk3Zd9Fe7Gm1Pj6Su4Ao5Bv8Cw2Dx3Ey7K"
    assert found({"README.md": f"said {key[:53]} there".encode()}) == ["README.md:1: a secret (perplexity-api-key)"]


@pytest.mark.parametrize("word", ["cloudflare", "adobe", "bitbucket", "tokenizer"])
@pytest.mark.parametrize("length", [32, 40, 64])
def test_digests_and_commits_are_no_keys(word: str, length: int) -> None:
    record = json.dumps({f"{word}_revision": ("9e107d9d372bb6826bd81d3542a419d6" * 2)[:length]})
    assert found({"training.json": record.encode()}) == []


@pytest.mark.parametrize(
    "between",
    ["\n", "\r\n", "\n    ", "\\\n", '"\n    "', "' +\n  '", "\n> ", "\n\n", "\u2028", "\n# "],
    ids=repr,
)
def test_a_token_split_by_a_line_break_is_found_at_its_start(between: str) -> None:
    lines = found({"README.md": f"one\ntwo {between.join(HALVES)}\n".encode()})
    assert lines == [f"README.md:2: {HIDDEN}"]


@pytest.mark.parametrize(
    "character", ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\ufe0f", "\u034f", "\U000e0041"]
)
def test_invisible_characters_are_ignored(character: str) -> None:
    for text in (character.join(HALVES), character.join(TOKEN), json.dumps(character.join(TOKEN))):
        assert found({"README.md": f"one\n{text}\n".encode()}) == [f"README.md:2: {HIDDEN}"]
    lines = found({"t.parquet": parquet({"text": ["", character.join(TOKEN)]})})
    assert lines == [f"t.parquet, row 2, text: {HIDDEN}"]


@given(
    st.integers(1, len(TOKEN) - 1), st.integers(1, len(TOKEN) - 1), st.sampled_from(["\n", "\u200b", "\\u200b", "\\n"])
)
def test_a_token_is_found_at_any_split(first: int, second: int, between: str) -> None:
    start, end = sorted((first, second))
    text = between.join(part for part in (TOKEN[:start], TOKEN[start:end], TOKEN[end:]) if part)
    assert HIDDEN in found({"README.md": f"one {text} two".encode()})[0]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_nested_json_is_searched(times: int) -> None:
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
def test_consecutive_lines_are_no_token(text: str) -> None:
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
def test_long_repetitive_texts_can_be_searched(text: str) -> None:
    found({"a.json": text.encode()})  # with a slow expression this would take hours


def test_separate_rows_and_words_are_no_token() -> None:
    assert found({"t.parquet": parquet({"a": list(HALVES)})}) == []
    assert found({"vocab.txt": "\n".join([TOKEN[:6], *["abcdef"] * 20]).encode()}) == []


@pytest.mark.slow  # compiles all rules
def test_the_rules_need_no_writable_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (blocked := tmp_path / "file").write_text("no folder", "utf-8")
    monkeypatch.setenv("ESCOITA_CACHE", str(blocked))
    rules._scanner.cache_clear()
    try:
        assert [what for what, _, _ in rules.rule_matches(f"said {KEYS['Groq Key']} there")] == ["groq-api-key"]
    finally:
        rules._scanner.cache_clear()
