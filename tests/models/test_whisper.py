"""Test Whisper on a tiny model with random weights."""

from typing import Any

import pytest
import torch

from escoita.inference.transcriber import Transcriber
from escoita.models import family_for_evaluation
from escoita.models.whisper import WhisperFamily
from escoita.records.training import AdapterRecord, Prompt
from tests.models.samples import write_whisper
from tests.samples import tone


RECORD = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=6)
CLIPS = [tone(seconds=1.0), tone(300, seconds=0.4), tone(700, seconds=0.7)]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_whisper(tmp_path_factory.mktemp("whisper"))


def test_batch_equals_single_clips(whisper: str) -> None:
    assert isinstance(family_for_evaluation(whisper), WhisperFamily)
    transcriber = Transcriber.load(whisper, settings=RECORD)
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


def test_token_limit(whisper: str) -> None:
    transcriber = Transcriber.load(whisper, settings=RECORD)
    own = transcriber.family.own_limit(transcriber.model)
    settings = RECORD.model_copy(update={"max_new_tokens": own})
    assert transcriber.family.most_tokens(transcriber.model, settings) == 12


def test_long_recording_is_split(whisper: str) -> None:
    (transcript,) = Transcriber.load(whisper, settings=RECORD).transcribe([tone(seconds=65)])
    assert len(transcript.segments) >= 3 and transcript.segments[-1].end == 65.0
