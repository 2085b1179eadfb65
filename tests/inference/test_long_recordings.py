"""Test that the adapters of the quick starts transcribe the speech of long recordings, and nothing else."""

from typing import Literal

import numpy as np
import pytest

from escoita.audio.loading import SAMPLING_RATE
from escoita.inference.transcriber import Transcriber
from escoita.metrics.normalizers import normalizer
from escoita.metrics.wer import word_edits
from tests.audio.long_recordings import join, pink_noise, spoken_clips
from tests.conftest import ROOT


@pytest.mark.demo
@pytest.mark.parametrize(
    "language, base, run, normalizer_name",
    [("uz", "gemma4", "quickstart-uzbek", "uzbek"), ("gl", "phi4", "quickstart-galician", "galician")],
)
def test_long_recordings_are_transcribed_like_their_clips(
    language: str, base: str, run: str, normalizer_name: str
) -> None:
    adapter = str(ROOT / "runs" / run / "adapter")
    transcriber = Transcriber.load(str(ROOT / "quickstart" / base), adapter=adapter, batch_seconds=60)
    normalize = normalizer(normalizer_name)
    clips, texts = spoken_clips(language)
    reference = " ".join(map(normalize, texts))

    def rate(hypotheses: list[str]) -> float:
        return word_edits([reference], [" ".join(map(normalize, hypotheses))]).rate

    alone = rate([transcript.text for transcript in transcriber.transcribe(clips)])
    # The last case has noise under the speech too, and so have the clips with which it is compared.
    cases: tuple[tuple[Literal["noise", "silence"], bool], ...] = (
        ("noise", False),
        ("silence", False),
        ("silence", True),
    )
    for pause, noise_everywhere in cases:
        recording = join(clips, texts, pause, np.random.default_rng(0))
        samples = recording.samples
        if noise_everywhere:
            samples = samples + pink_noise(len(samples), np.random.default_rng(1)).astype(np.float32)
            clips = [samples[start:end] for start, end in recording.clips]
            alone = rate([transcript.text for transcript in transcriber.transcribe(clips)])
        (transcript,) = transcriber.transcribe([samples])
        # Each clip has a segment, which ends in the pauses around it: no other stretch has text, and no clip is lost.
        places = np.array(recording.clips) / SAMPLING_RATE
        segments = np.array([(segment.start, segment.end) for segment in transcript.segments])
        assert segments.shape == places.shape and np.abs(segments - places).max() < 0.15
        long = rate([transcript.text])
        case = f"{language}, {pause}, noise everywhere: {noise_everywhere}, {transcript.speech_detector}"
        print(f"{case}: WER {long:.4f}, of the clips alone {alone:.4f}")
        assert long <= alone + 0.01
