"""Test CTC models on tiny models with random weights."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models import family_for_evaluation
from escoita.models.ctc import CtcFamily
from escoita.records.training import AdapterRecord, Prompt
from tests.models.samples import MMS_LETTERS, write_ctc, write_mms
from tests.samples import tone


RECORD = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=6)
CLIPS = [tone(seconds=1.0), tone(300, seconds=0.4), tone(700, seconds=0.7)]


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_ctc(tmp_path_factory.mktemp("ctc"))


@pytest.fixture(scope="module")
def mms(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_mms(tmp_path_factory.mktemp("mms"))


def test_batch_equals_single_clips(ctc: str) -> None:
    assert isinstance(family_for_evaluation(ctc), CtcFamily)
    transcriber = Transcriber.load(ctc, settings=RECORD)
    alone = [transcriber.transcribe([clip])[0].text for clip in CLIPS]
    together = transcriber.transcribe(CLIPS)
    assert [transcript.text for transcript in together] == alone
    assert any(alone) and not any("<" in text for text in alone)
    assert all(transcript.tokens > 0 for transcript in together)


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


def test_the_characters_are_those_of_the_vocabulary_of_the_language(ctc: str, mms: str) -> None:
    for model, language, expected in ((ctc, "gl", "abcdefgh"), (mms, "gl", "aeiouñx"), (mms, "en", "abcdefgh")):
        family = family_for_evaluation(model)
        assert family.characters(family.load_processor(model), language) == "".join(sorted(expected))


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


def test_token_limit(ctc: str) -> None:
    transcriber = Transcriber.load(ctc, settings=RECORD)
    own = transcriber.family.own_limit(transcriber.model)
    settings = RECORD.model_copy(update={"max_new_tokens": own})
    assert transcriber.family.most_tokens(transcriber.model, settings) == math.inf


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_letters_in_padding_are_ignored(norm: str, tmp_path: Path) -> None:
    transcriber = Transcriber.load(write_ctc(tmp_path, norm), settings=RECORD)
    short, long = np.random.default_rng(0).normal(0, 0.1, (2, 32_000)).astype(np.float32)
    (alone,) = transcriber.transcribe([short[:4_000]])
    batched = transcriber.transcribe([short[:4_000], long])[0]
    assert batched.text == alone.text and batched.tokens == len(alone.text) and not batched.truncated


def test_pickled_weights_are_refused(ctc: str, tmp_path: Path) -> None:
    for path in Path(ctc).iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(EscoitaError) as error:
        Transcriber.load(str(tmp_path), settings=RECORD)
    assert "safetensors" in str(error.value)
