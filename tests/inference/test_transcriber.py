from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.audio.speech_detection import speech_detector
from escoita.errors import AudioError, EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models.base import Family, Watch
from escoita.records.training import AdapterRecord, Prompt
from escoita.records.transcript import NOTES
from tests.samples import tone, write_clip


SETTINGS = AdapterRecord(language="gl", prompt=Prompt(user="Listen."), max_new_tokens=7)


class Tokenizer:
    all_special_ids, all_special_tokens = (0,), ("<pad>",)
    added_tokens_decoder: dict[int, Any] = {}


class Processor:
    tokenizer = Tokenizer()


class EchoFamily(Family):
    """Represent a model whose text is the length of a clip and the size of its batch."""

    max_audio_seconds = 1.0

    def encode(self, processor: Any, audio: Sequence[np.ndarray], prompt: Prompt) -> dict[str, torch.Tensor]:
        return {"input_features": torch.tensor([[len(clip)] for clip in audio]).double()}

    def generate(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        samples: AdapterRecord,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        return model.generate(**inputs)

    def decode(self, processor: Any, tokens: torch.Tensor) -> list[str]:
        return [f"{row[0]} of {len(tokens)}" for row in tokens.tolist()]


class EchoModel:
    """Represent a model that runs out of memory if a batch has more than `most` clips."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, most: int = 1000, refusal: RuntimeError | None = None):
        self.most, self.refusal = most, refusal or torch.OutOfMemoryError("out of memory")
        self.sizes: list[int] = []

    def eval(self) -> "EchoModel":
        return self

    def generate(self, input_features: torch.Tensor) -> torch.Tensor:
        assert input_features.dtype == self.dtype and torch.is_inference_mode_enabled()
        self.sizes.append(len(input_features))
        if len(input_features) > self.most:
            raise self.refusal
        return torch.cat([input_features.long(), torch.zeros(len(input_features), 2, dtype=torch.long)], dim=1)


def echo(batch_seconds: float = 100.0, model: EchoModel | None = None) -> Transcriber:
    return Transcriber(EchoFamily(), model or EchoModel(), Processor(), SETTINGS, batch_seconds)


def silence(samples: int) -> np.ndarray:
    return np.zeros(samples, np.float32)


def test_transcripts_are_in_the_order_of_the_clips() -> None:
    clips = [silence(length) for length in (300, 800, 100, 800, 500)]
    transcripts = echo(batch_seconds=1600 / SAMPLING_RATE).transcribe(clips)
    assert [transcript.text for transcript in transcripts] == [
        "300 of 3",
        "800 of 2",
        "100 of 3",
        "800 of 2",
        "500 of 3",
    ]
    assert [transcript.audio_seconds for transcript in transcripts] == [len(clip) / SAMPLING_RATE for clip in clips]
    assert [transcript.tokens for transcript in transcripts] == [1] * 5


def test_the_compute_time_is_shared_by_length() -> None:
    first, second = echo().transcribe([silence(400), silence(1200)])
    assert first.compute_seconds > 0
    assert second.compute_seconds == pytest.approx(3 * first.compute_seconds)


def test_a_transcript_at_the_token_limit_is_truncated() -> None:
    class Talker(EchoModel):
        def generate(self, input_features: torch.Tensor) -> torch.Tensor:
            tokens = torch.ones(len(input_features), 7, dtype=torch.long)
            tokens[1:, 6] = 0
            return tokens

    long, short = echo(model=Talker()).transcribe([silence(1200), silence(400)])
    assert (long.tokens, long.truncated) == (7, True)
    assert (short.tokens, short.truncated) == (6, False)


def test_no_clips_have_no_transcripts() -> None:
    assert echo().transcribe([]) == []


@pytest.mark.parametrize("most", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "refusal", [None, RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …")]
)
def test_a_batch_that_runs_out_of_memory_is_split(most: int, refusal: RuntimeError | None) -> None:
    model = EchoModel(most, refusal)
    transcriber = echo(model=model)
    clips = [silence(1000 - index) for index in range(7)]
    assert [transcript.text.split()[0] for transcript in transcriber.transcribe(clips)] == [
        str(len(clip)) for clip in clips
    ]
    assert sum(size for size in model.sizes if size <= most) == 7
    failed = len([size for size in model.sizes if size > most])
    assert failed
    # The limit is remembered: the next batch of this size does not fail first.
    transcriber.transcribe(clips)
    assert len([size for size in model.sizes if size > most]) == failed


def test_a_single_clip_that_runs_out_of_memory_is_an_error() -> None:
    with pytest.raises(EscoitaError) as error:
        echo(model=EchoModel(most=0)).transcribe([silence(8000)])
    assert isinstance(error.value.__cause__, torch.OutOfMemoryError) and "0.5 s" in error.value.problem


def test_an_error_of_transformers_is_explained_and_another_is_raised() -> None:
    from transformers import GenerationConfig

    class Model(EchoModel):
        config = SimpleNamespace(_name_or_path="user/base")

        def generate(self, input_features: torch.Tensor) -> torch.Tensor:
            if len(input_features) == 1:
                GenerationConfig(early_stopping=7).validate(strict=True)
            raise ValueError("a defect of this project")

    with pytest.raises(EscoitaError) as refusal:
        echo(model=Model()).transcribe([silence(8000)])
    assert refusal.value.path == "user/base" and isinstance(refusal.value.__cause__, ValueError)
    with pytest.raises(ValueError):
        echo(model=Model()).transcribe([silence(8000)] * 2)


def test_other_errors_of_the_model_are_raised() -> None:
    defect = RuntimeError("a defect")
    with pytest.raises(RuntimeError) as error:
        echo(model=EchoModel(most=0, refusal=defect)).transcribe([silence(8000)] * 2)
    assert error.value is defect


def test_a_long_recording_is_transcribed_in_segments(tmp_path: Path) -> None:
    """The limit of the model is one second; pauses, and the silence at the end, are left out."""
    pause = silence(3200)
    samples = np.concatenate([tone(seconds=0.7), pause, tone(seconds=0.6), pause, tone(seconds=0.4), silence(16_000)])
    (transcript,) = echo().transcribe([samples])
    starts_and_ends = [(segment.start, segment.end) for segment in transcript.segments]
    assert np.allclose(starts_and_ends, [(0.0, 0.7), (0.9, 1.5), (1.7, 2.1)], atol=0.03)
    assert transcript.speech_detector == speech_detector()
    assert transcript.text == " ".join(segment.text for segment in transcript.segments)
    assert transcript.audio_seconds == pytest.approx(3.1) and transcript.tokens == len(transcript.segments)
    assert echo().transcribe_file(write_clip(tmp_path / "long.wav", samples, subtype="FLOAT")).text == transcript.text


def test_a_silent_start_is_not_transcribed() -> None:
    (transcript,) = echo().transcribe([np.concatenate([silence(20_000), tone(seconds=0.7)])])
    assert transcript.segments[0].start == pytest.approx(1.25, abs=0.03)
    assert transcript.segments[-1].end == pytest.approx(1.95)
    # Of a silent recording, one segment is transcribed.
    (transcript,) = echo().transcribe([silence(40_000)])
    assert len(transcript.segments) == 1 and transcript.audio_seconds == 2.5


def test_the_processor_is_copied_once() -> None:
    """Copying a tokenizer of 262,144 words takes half a second."""
    copies = []

    class Copied(Processor):
        def __deepcopy__(self, memo: object) -> "Copied":
            copies.append(self)
            return Copied()

    transcriber = Transcriber(EchoFamily(), EchoModel(), Copied(), SETTINGS)
    for _ in range(3):
        transcriber.transcribe([silence(400)])
    assert len(copies) == 1


def test_segments_of_several_long_recordings_are_joined_separately() -> None:
    clips = [tone(seconds=3.3), tone(seconds=0.2), tone(seconds=2.5)]
    transcripts = echo(batch_seconds=1.0).transcribe(clips)
    assert [transcript.audio_seconds for transcript in transcripts] == [3.3, 0.2, 2.5]
    for transcript, clip in zip(transcripts, clips, strict=True):
        bounds = [(segment.start, segment.end) for segment in transcript.segments]
        assert bounds[0][0] == 0.0 and bounds[-1][1] == len(clip) / SAMPLING_RATE
        assert all(end == start for (_, end), (start, _) in zip(bounds, bounds[1:], strict=False))
        assert max(end - start for start, end in bounds) <= 1.0


def test_an_error_of_decoding_is_raised() -> None:
    def load(index: int) -> np.ndarray:
        raise AudioError("not found", path="missing.wav")

    with pytest.raises(AudioError) as error:
        list(echo().transcribe_batches(load, [[0, 1]]))
    assert error.value.path == "missing.wav"


def test_a_file(tmp_path: Path) -> None:
    assert echo().transcribe_file(write_clip(tmp_path / "clip.wav")).text == "8000 of 1"


def test_a_truncated_file_with_an_inverted_channel_has_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_clip(tmp_path / "clip.wav", np.stack([tone(), -tone()], axis=1))
    path.write_bytes(path.read_bytes()[:-12_800])
    transcript = echo().transcribe_file(path)
    assert transcript.text == "4800 of 1" and transcript.notes == ("cut_off", "one_channel")
    printed = capsys.readouterr().err
    assert all(NOTES[note] in printed.replace("\n", " ") for note in transcript.notes)
    assert echo().transcribe_file(write_clip(path)).notes == ()


def test_a_silent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError) as error:
        echo().transcribe_file(write_clip(tmp_path / "clip.wav", tone(level=0)))
    assert error.value.path == "clip.wav"


def test_a_base_model_without_an_adapter_requires_settings() -> None:
    with pytest.raises(EscoitaError) as error:
        Transcriber.load("quickstart/gemma4")
    assert error.value.path == "quickstart/gemma4"
