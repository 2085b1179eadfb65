"""Whisper and CTC models, tiny ones with random weights: what they hear is nonsense, but heard as it should be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models import family_of, listener_of
from escoita.models.whisper_ctc import CtcFamily, WhisperFamily, matching
from escoita.records.training import AdapterRecord, Prompt
from tests.models.samples import MMS_LETTERS, write_ctc, write_mms, write_whisper
from tests.samples import tone


SPOKEN = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=6)
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
def test_batches_hear_what_one_by_one_hears(name: str, family: type, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    assert isinstance(listener_of(model), family)
    transcriber = Transcriber.load(model, settings=SPOKEN)
    alone = [transcriber.transcribe([clip])[0].text for clip in CLIPS]
    together = transcriber.transcribe(CLIPS)
    assert [transcript.text for transcript in together] == alone
    assert any(alone) and not any("<" in text for text in alone)
    assert all(transcript.tokens > 0 for transcript in together)


def test_whisper_is_told_the_language_that_it_knows(whisper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    transcriber = Transcriber.load(whisper, settings=SPOKEN)
    asked: list[dict[str, Any]] = []
    generate = transcriber.model.generate

    def listening(**kwargs: Any) -> torch.Tensor:
        asked.append(kwargs)
        return generate(**kwargs)

    monkeypatch.setattr(transcriber.model, "generate", listening)
    transcriber.transcribe(CLIPS)
    transcriber.generation_settings = SPOKEN.model_copy(update={"language": "uz", "max_new_tokens": 256})
    transcriber.transcribe(CLIPS)
    assert (asked[0]["language"], asked[0]["task"], asked[0]["max_length"]) == ("gl", "transcribe", 6)
    assert "language" not in asked[1] and asked[1]["max_length"] == 12  # all that its decoder has places for


def in_language(transcriber: Transcriber, language: str) -> str:
    told = transcriber.with_settings(transcriber.generation_settings.model_copy(update={"language": language}))
    return "".join(transcript.text for transcript in told.transcribe(CLIPS))


@pytest.mark.parametrize(
    "language, code", [("gl", "glg"), ("glg", "glg"), ("uz", "uzb-script_latin"), ("uzn", "uzb-script_latin")]
)
def test_mms_writes_the_letters_of_the_language(mms: str, language: str, code: str) -> None:
    transcriber = Transcriber.load(mms, settings=SPOKEN)
    assert set(in_language(transcriber, "en")) <= set(MMS_LETTERS["eng"])
    text = in_language(transcriber, language)
    assert text and set(text) <= set(MMS_LETTERS[code])
    assert set(in_language(transcriber, "en")) <= set(MMS_LETTERS["eng"])  # and back
    assert in_language(transcriber, language) == text


def test_mms_refuses_a_language_that_it_does_not_know(mms: str) -> None:
    with pytest.raises(EscoitaError, match="'eu'"):
        in_language(Transcriber.load(mms, settings=SPOKEN), "eu")


def test_an_adapter_of_mms_that_is_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    folder = Path(write_mms(tmp_path))
    (folder / "adapter.glg.safetensors").unlink()
    torch.save({}, folder / "adapter.glg.bin")
    with pytest.raises(EscoitaError, match=r"adapter\.glg\.safetensors"):
        in_language(Transcriber.load(str(folder), settings=SPOKEN), "gl")


def test_adapters_of_mms_that_do_not_fit_are_refused_in_one_line(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = Path(write_mms(tmp_path))
    save_file({"lm_head.weight": torch.zeros(3, 16)}, folder / "adapter.glg.safetensors")
    with pytest.raises(EscoitaError, match="adapter for glg"):
        in_language(Transcriber.load(str(folder), settings=SPOKEN), "gl")


def test_each_model_has_a_limit_of_its_own(whisper: str, ctc: str) -> None:
    for name, limit in ((whisper, 12), (ctc, None)):
        transcriber = Transcriber.load(name, settings=SPOKEN)
        own = transcriber.family.own_limit(transcriber.model)
        most = transcriber.family.most_tokens(transcriber.model, SPOKEN.model_copy(update={"max_new_tokens": own}))
        assert most == (limit or float("inf"))
    assert listener_of("quickstart/gemma4").own_limit(None) == 450


def test_a_long_recording_is_cut_for_whisper_too(whisper: str) -> None:
    (heard,) = Transcriber.load(whisper, settings=SPOKEN).transcribe([tone(seconds=65)])
    assert len(heard.segments) >= 3 and heard.segments[-1].end == 65.0


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_letters_in_padding_do_not_count(norm: str, tmp_path: Path) -> None:
    transcriber = Transcriber.load(write_ctc(tmp_path, norm), settings=SPOKEN)
    short, long = np.random.default_rng(0).normal(0, 0.1, (2, 32_000)).astype(np.float32)
    (alone,) = transcriber.transcribe([short[:4_000]])
    beside = transcriber.transcribe([short[:4_000], long])[0]
    assert beside.text == alone.text and beside.tokens == len(alone.text) and not beside.truncated


def test_baselines_cannot_be_trained(whisper: str, tmp_path: Path) -> None:
    with pytest.raises(EscoitaError, match=r"its type 'whisper' is not one of gemma4"):
        family_of(whisper)
    for other in ("bert", "parakeet_ctc"):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": other}))
        with pytest.raises(EscoitaError, match=f"its type '{other}' is none that can listen here"):
            listener_of(str(tmp_path))


def test_pickled_weights_are_refused(ctc: str, tmp_path: Path) -> None:
    for path in Path(ctc).iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(EscoitaError, match=r"safetensors"):
        Transcriber.load(str(tmp_path), settings=SPOKEN)


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
def test_codes_that_mean_the_same_language_match(language: str, known: list[str], code: str | None) -> None:
    assert matching(language, known) == code
