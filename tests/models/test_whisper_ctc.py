"""Test Whisper and CTC models on tiny models with random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models import family_for_evaluation, family_of
from escoita.models.whisper_ctc import CtcFamily, WhisperFamily, matching
from escoita.records.training import AdapterRecord, Prompt
from tests.models.samples import MMS_LETTERS, write_ctc, write_mms, write_whisper
from tests.samples import tone


RECORD = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=6)
CLIPS = [tone(seconds=1.0), tone(300, seconds=0.4), tone(700, seconds=0.7)]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_ctc(tmp_path_factory.mktemp("ctc"))


@pytest.fixture(scope="module")
def mms(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_mms(tmp_path_factory.mktemp("mms"))


@pytest.mark.parametrize("name, family", [("whisper", WhisperFamily), ("ctc", CtcFamily)])
def test_batch_equals_single_clips(name: str, family: type, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    assert isinstance(family_for_evaluation(model), family)
    transcriber = Transcriber.load(model, settings=RECORD)
    alone = [transcriber.transcribe([clip])[0].text for clip in CLIPS]
    together = transcriber.transcribe(CLIPS)
    assert [transcript.text for transcript in together] == alone
    assert any(alone) and not any("<" in text for text in alone)
    assert all(transcript.tokens > 0 for transcript in together)


def test_whisper_gets_a_supported_language(whisper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    transcriber = Transcriber.load(whisper, settings=RECORD)
    requests: list[dict[str, Any]] = []
    generate = transcriber.model.generate

    def recorded(**kwargs: Any) -> torch.Tensor:
        requests.append(kwargs)
        return generate(**kwargs)

    monkeypatch.setattr(transcriber.model, "generate", recorded)
    transcriber.transcribe(CLIPS)
    transcriber.generation_settings = RECORD.model_copy(update={"language": "uz", "max_new_tokens": 256})
    transcriber.transcribe(CLIPS)
    assert (requests[0]["language"], requests[0]["task"], requests[0]["max_length"]) == ("gl", "transcribe", 6)
    assert "language" not in requests[1] and requests[1]["max_length"] == 12  # the limit of its decoder


def in_language(transcriber: Transcriber, language: str) -> str:
    in_language = transcriber.with_settings(transcriber.generation_settings.model_copy(update={"language": language}))
    return "".join(transcript.text for transcript in in_language.transcribe(CLIPS))


@pytest.mark.parametrize(
    "language, code", [("gl", "glg"), ("glg", "glg"), ("uz", "uzb-script_latin"), ("uzn", "uzb-script_latin")]
)
def test_mms_uses_the_letters_of_the_language(mms: str, language: str, code: str) -> None:
    transcriber = Transcriber.load(mms, settings=RECORD)
    assert set(in_language(transcriber, "en")) <= set(MMS_LETTERS["eng"])
    text = in_language(transcriber, language)
    assert text and set(text) <= set(MMS_LETTERS[code])
    assert set(in_language(transcriber, "en")) <= set(MMS_LETTERS["eng"])  # and back
    assert in_language(transcriber, language) == text


def test_mms_refuses_an_unsupported_language(mms: str) -> None:
    with pytest.raises(EscoitaError) as error:
        in_language(Transcriber.load(mms, settings=RECORD), "eu")
    assert (error.value.path, error.value.key, error.value.value) == (mms, "language", "eu")


def test_pickled_adapter_of_mms_is_not_loaded(tmp_path: Path) -> None:
    folder = Path(write_mms(tmp_path))
    (folder / "adapter.glg.safetensors").unlink()
    torch.save({}, folder / "adapter.glg.bin")
    with pytest.raises(EscoitaError) as error:
        in_language(Transcriber.load(str(folder), settings=RECORD), "gl")
    assert "adapter.glg.safetensors" in str(error.value)


def test_incompatible_adapter_of_mms_is_refused_in_one_line(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = Path(write_mms(tmp_path))
    save_file({"lm_head.weight": torch.zeros(3, 16)}, folder / "adapter.glg.safetensors")
    with pytest.raises(EscoitaError) as error:
        in_language(Transcriber.load(str(folder), settings=RECORD), "gl")
    assert error.value.path == f"{folder}/adapter.glg.safetensors" and "\n" not in str(error.value)


def test_token_limits(whisper: str, ctc: str) -> None:
    for name, limit in ((whisper, 12), (ctc, None)):
        transcriber = Transcriber.load(name, settings=RECORD)
        own = transcriber.family.own_limit(transcriber.model)
        most = transcriber.family.most_tokens(transcriber.model, RECORD.model_copy(update={"max_new_tokens": own}))
        assert most == (limit or float("inf"))
    assert family_for_evaluation("quickstart/gemma4").own_limit(None) == 450


def test_long_recording_is_split_for_whisper(whisper: str) -> None:
    (transcript,) = Transcriber.load(whisper, settings=RECORD).transcribe([tone(seconds=65)])
    assert len(transcript.segments) >= 3 and transcript.segments[-1].end == 65.0


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_letters_in_padding_are_ignored(norm: str, tmp_path: Path) -> None:
    transcriber = Transcriber.load(write_ctc(tmp_path, norm), settings=RECORD)
    short, long = np.random.default_rng(0).normal(0, 0.1, (2, 32_000)).astype(np.float32)
    (alone,) = transcriber.transcribe([short[:4_000]])
    batched = transcriber.transcribe([short[:4_000], long])[0]
    assert batched.text == alone.text and batched.tokens == len(alone.text) and not batched.truncated


def test_baselines_cannot_be_trained(whisper: str, tmp_path: Path) -> None:
    with pytest.raises(EscoitaError) as error:
        family_of(whisper)
    assert (error.value.path, error.value.key, error.value.value) == (whisper, "model_type", "whisper")
    for other in ("bert", "lasr_ctc"):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": other}))
        with pytest.raises(EscoitaError) as error:
            family_for_evaluation(str(tmp_path))
        assert (error.value.key, error.value.value) == ("model_type", other)


def test_pickled_weights_are_refused(ctc: str, tmp_path: Path) -> None:
    for path in Path(ctc).iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(EscoitaError) as error:
        Transcriber.load(str(tmp_path), settings=RECORD)
    assert "safetensors" in str(error.value)


WHISPER = ["en", "gl", "uz", "no", "jw", "yue"]
MMS = [
    "eng",
    "glg",
    "uzb-script_cyrillic",
    "uzb-script_latin",
    "azj-script_cyrillic",
    "azj-script_latin",
    "kmr",
    "swh",
    "zlm",
]


@pytest.mark.parametrize(
    "language, known, code",
    [
        ("gl", WHISPER, "gl"),
        ("glg", WHISPER, "gl"),
        ("uzn", WHISPER, "uz"),
        ("nb", WHISPER, "no"),
        ("nob", WHISPER, "no"),
        ("jv", WHISPER, "jw"),
        ("yue", WHISPER, "yue"),
        ("eu", WHISPER, None),
        ("", WHISPER, None),
        ("gl", MMS, "glg"),
        ("en", MMS, "eng"),
        ("uz", MMS, "uzb-script_latin"),
        ("az", MMS, "azj-script_latin"),
        ("sw", MMS, "swh"),
        ("ms", MMS, "zlm"),
        ("gl", ["../glg", "glg/x", "glg\n"], None),
        ("gl", [], None),
    ],
)
def test_equivalent_language_codes_match(language: str, known: list[str], code: str | None) -> None:
    assert matching(language, known) == code
