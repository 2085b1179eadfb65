from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.errors import AudioError, EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models.base import Family, Watch
from escoita.records.training import AdapterRecord, Prompt
from escoita.records.transcript import NOTES
from tests.samples import tone, write_clip


SPOKEN = AdapterRecord(language="gl", prompt=Prompt(user="Listen."), max_new_tokens=7)


class Tokenizer:
    all_special_ids, all_special_tokens = (0,), ("<pad>",)
    added_tokens_decoder: dict[int, Any] = {}


class Processor:
    tokenizer = Tokenizer()


class EchoFamily(Family):
    """Says how long each clip of a batch was, and how many stood beside it."""

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
    """Runs out of memory where more than `most` clips stand in a batch."""

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
    return Transcriber(EchoFamily(), model or EchoModel(), Processor(), SPOKEN, batch_seconds)


def silence(samples: int) -> np.ndarray:
    return np.zeros(samples, np.float32)


def test_results_come_in_the_order_of_the_clips() -> None:
    clips = [silence(length) for length in (300, 800, 100, 800, 500)]
    heard = echo(batch_seconds=1600 / SAMPLING_RATE).transcribe(clips)
    assert [transcript.text for transcript in heard] == ["300 of 3", "800 of 2", "100 of 3", "800 of 2", "500 of 3"]
    assert [transcript.audio_seconds for transcript in heard] == [len(clip) / SAMPLING_RATE for clip in clips]
    assert [transcript.tokens for transcript in heard] == [1] * 5


def test_computing_is_shared_out_by_length() -> None:
    first, second = echo().transcribe([silence(400), silence(1200)])
    assert first.compute_seconds > 0
    assert second.compute_seconds == pytest.approx(3 * first.compute_seconds)


def test_a_transcript_that_the_limit_ended_says_so() -> None:
    class Talker(EchoModel):
        def generate(self, input_features: torch.Tensor) -> torch.Tensor:
            tokens = torch.ones(len(input_features), 7, dtype=torch.long)
            tokens[1:, 6] = 0
            return tokens

    long, short = echo(model=Talker()).transcribe([silence(1200), silence(400)])
    assert (long.tokens, long.truncated) == (7, True)
    assert (short.tokens, short.truncated) == (6, False)


def test_nothing_in_nothing_out() -> None:
    assert echo().transcribe([]) == []


@pytest.mark.parametrize("most", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "refusal", [None, RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …")]
)
def test_a_batch_that_does_not_fit_is_halved(most: int, refusal: RuntimeError | None) -> None:
    model = EchoModel(most, refusal)
    transcriber = echo(model=model)
    clips = [silence(1000 - index) for index in range(7)]
    assert [heard.text.split()[0] for heard in transcriber.transcribe(clips)] == [str(len(clip)) for clip in clips]
    assert sum(size for size in model.sizes if size <= most) == 7
    failed = len([size for size in model.sizes if size > most])
    assert failed
    # What was learnt is kept: the next batch of the kind does not fail first.
    transcriber.transcribe(clips)
    assert len([size for size in model.sizes if size > most]) == failed


def test_a_clip_that_does_not_fit_alone_ends_with_one_line() -> None:
    with pytest.raises(EscoitaError, match=r"^out of memory on a clip of 0\.5 s"):
        echo(model=EchoModel(most=0)).transcribe([silence(8000)])


def test_other_failures_of_the_model_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="a defect"):
        echo(model=EchoModel(most=0, refusal=RuntimeError("a defect"))).transcribe([silence(8000)] * 2)


def test_a_long_recording_is_heard_in_parts(tmp_path: Path) -> None:
    """The model hears a second at once; the pauses are at 0.8 s and 1.6 s, and the last part is silent."""
    pause = silence(3200)
    samples = np.concatenate([tone(seconds=0.7), pause, tone(seconds=0.6), pause, tone(seconds=0.4), silence(16_000)])
    (heard,) = echo().transcribe([samples])
    starts_and_ends = [(part.start, part.end) for part in heard.segments]
    assert starts_and_ends[0] == (0.0, pytest.approx(0.8, abs=0.02))
    assert starts_and_ends[1] == (starts_and_ends[0][1], pytest.approx(1.6, abs=0.02))
    assert heard.segments[-1].end < 3.1  # nothing is made up about silence
    assert heard.text == " ".join(part.text for part in heard.segments)
    assert heard.audio_seconds == pytest.approx(3.1) and heard.tokens == len(heard.segments)
    assert echo().transcribe_file(write_clip(tmp_path / "long.wav", samples, subtype="FLOAT")).text == heard.text


def test_nothing_is_made_up_about_a_silent_beginning() -> None:
    (heard,) = echo().transcribe([np.concatenate([silence(20_000), tone(seconds=0.7)])])
    assert heard.segments[0].start > 0 and heard.segments[-1].end == pytest.approx(1.95)
    # Of silence alone as much is heard as of a short clip.
    (heard,) = echo().transcribe([silence(40_000)])
    assert len(heard.segments) == 1 and heard.audio_seconds == 2.5


def test_the_processor_is_copied_once() -> None:
    """A tokenizer of 262,144 words takes half a second to copy; a page hears one clip at a time."""
    copies = []

    class Copied(Processor):
        def __deepcopy__(self, memo: object) -> "Copied":
            copies.append(self)
            return Copied()

    transcriber = Transcriber(EchoFamily(), EchoModel(), Copied(), SPOKEN)
    for _ in range(3):
        transcriber.transcribe([silence(400)])
    assert len(copies) == 1


def test_recordings_longer_than_a_batch_are_stitched_apart() -> None:
    clips = [tone(seconds=3.3), tone(seconds=0.2), tone(seconds=2.5)]
    heard = echo(batch_seconds=1.0).transcribe(clips)
    assert [transcript.audio_seconds for transcript in heard] == [3.3, 0.2, 2.5]
    for transcript, clip in zip(heard, clips, strict=True):
        bounds = [(segment.start, segment.end) for segment in transcript.segments]
        assert bounds[0][0] == 0.0 and bounds[-1][1] == len(clip) / SAMPLING_RATE
        assert all(end == start for (_, end), (start, _) in zip(bounds, bounds[1:], strict=False))
        assert max(end - start for start, end in bounds) <= 1.0


def test_what_cannot_be_decoded_stops_the_work() -> None:
    def load(index: int) -> np.ndarray:
        raise AudioError("no such file", path="gone.wav")

    with pytest.raises(AudioError, match="gone.wav"):
        list(echo().in_batches(load, [[0, 1]]))


def test_a_file(tmp_path: Path) -> None:
    assert echo().transcribe_file(write_clip(tmp_path / "clip.wav")).text == "8000 of 1"


def test_a_file_that_is_cut_off_and_a_channel_that_is_inverted_are_transcribed_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_clip(tmp_path / "clip.wav", np.stack([tone(), -tone()], axis=1))
    path.write_bytes(path.read_bytes()[:-12_800])
    heard = echo().transcribe_file(path)
    assert heard.text == "4800 of 1" and heard.notes == ("cut_off", "one_channel")
    said = capsys.readouterr().err
    assert all(NOTES[note] in said.replace("\n", " ") for note in heard.notes)
    assert echo().transcribe_file(write_clip(path)).notes == ()


def test_a_file_in_which_nothing_can_be_heard(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="^clip.wav: nothing can be heard in it$"):
        echo().transcribe_file(write_clip(tmp_path / "clip.wav", tone(level=0)))


def test_a_base_alone_needs_a_prompt() -> None:
    with pytest.raises(EscoitaError, match="a base alone knows no prompt"):
        Transcriber.load("quickstart/gemma4")
