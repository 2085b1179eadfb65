"""Test baselines on tiny models of the original classes with random weights."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models import family_for_evaluation, family_of
from escoita.models.families import BASELINES
from escoita.records.training import AdapterRecord, Prompt
from tests.models.baseline_models import write_canary, write_cohere_asr, write_moonshine, write_parakeet
from tests.samples import tone


SETTINGS = AdapterRecord(language="es", prompt=Prompt(user=""), max_new_tokens=6)
CLIPS = [tone(seconds=1.0), tone(300, seconds=0.4), tone(700, seconds=0.7)]
WRITERS: dict[str, Callable[[Path], str]] = {
    "parakeet_ctc": partial(write_parakeet, kind="ctc"),
    "parakeet_rnnt": partial(write_parakeet, kind="rnnt"),
    "parakeet_tdt": partial(write_parakeet, kind="tdt"),
    "canary": write_canary,
    "cohere_asr": write_cohere_asr,
    "moonshine": write_moonshine,
}


@pytest.fixture(scope="module", params=WRITERS)
def baseline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return the model type and the folder of a baseline."""
    return request.param, WRITERS[request.param](tmp_path_factory.mktemp(request.param))


def test_every_baseline_has_a_tiny_model() -> None:
    assert WRITERS.keys() == BASELINES.keys()


def test_a_batch_has_the_texts_of_single_clips(baseline: tuple[str, str]) -> None:
    model_type, model = baseline
    assert type(family_for_evaluation(model)).__name__ == BASELINES[model_type].split(":")[1]
    transcriber = Transcriber.load(model, settings=SETTINGS)
    together = transcriber.transcribe(CLIPS)
    assert [transcript.text for transcript in together] == [transcriber.transcribe([clip])[0].text for clip in CLIPS]
    assert any(transcript.text for transcript in together)
    assert not any("<" in transcript.text for transcript in together)
    assert all(transcript.tokens >= 0 for transcript in together) and any(each.tokens for each in together)


def test_token_limit_and_beams(baseline: tuple[str, str]) -> None:
    model = baseline[1]
    transcriber = Transcriber.load(model, settings=SETTINGS)
    transcriber.warm_up()
    family, limit = transcriber.family, transcriber.family.most_tokens(transcriber.model, SETTINGS)
    assert limit == (6 if family.token_limit else math.inf)
    if family.beam_search:
        transcriber.use_beams(3)
        assert all(transcript.tokens <= 6 for transcript in transcriber.transcribe(CLIPS))


def test_baselines_cannot_be_trained(baseline: tuple[str, str]) -> None:
    with pytest.raises(EscoitaError) as refusal:
        family_of(baseline[1])
    assert refusal.value.key == "model_type"


@pytest.mark.parametrize("write", [write_canary, write_cohere_asr])
def test_a_language_without_a_prompt_is_refused(tmp_path: Path, write: Callable[[Path], str]) -> None:
    model = write(tmp_path)
    family = family_for_evaluation(model)
    processor = family.load_processor(model)
    assert family.unsupported(processor, ["es", "gl", "eng"]) == ["gl"]
    with pytest.raises(EscoitaError) as refusal:
        Transcriber.load(model, settings=SETTINGS.model_copy(update={"language": "gl"})).transcribe(CLIPS)
    assert (refusal.value.key, refusal.value.value) == ("language", "gl")
