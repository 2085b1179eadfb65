"""The Transcriber, against the loop that the Uzbek card prints: same model, same clips, same text."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bench.clock import timed
from bench.measurement import Measurement
from bench.quickstart import clips_of
from escoita.data.clips import read_clip
from escoita.data.rows import Utterances
from escoita.hub.files import adapter_record
from escoita.inference.batching import batches_by_seconds
from escoita.inference.transcriber import Transcriber
from escoita.run_directory import RunDirectory
from escoita.utils.processes import say


if TYPE_CHECKING:
    from bench.card_loop import CardLoop

CLIPS = 300
ROUNDS = 5
LOOP = "the Uzbek card's loop"


def measure_transcriber(run: Path, clips: int = CLIPS, rounds: int = ROUNDS) -> list[Measurement]:
    """
    Measures how much sooner the Transcriber has heard the clips than the loop.

    In each round the Transcriber hears all clips and the loop its share of them, so that in the end it has heard each
    once, and what else the machine does disturbs both alike. Shares are as alike as can be: every fifth clip by
    length; what the loop takes is scaled by seconds of audio. All that happens between file and text is inside both
    clocks: decoding, features, generation. Loading the models and a first clip are outside.

    Args:
        run (`Path`): Directory of a trained run of the quick start.
        clips (`int`, *optional*, defaults to 300): All test clips, then the first ones to train on.
        rounds (`int`, *optional*, defaults to 5): How often one is measured after the other.

    Raises:
        EscoitaError: The run holds no adapter.
    """
    from bench.card_loop import CardLoop

    adapter, recipe = RunDirectory(run).trained_adapter(), RunDirectory(run).load_recipe()
    heard = clips_of("uz")[:clips]
    transcriber = Transcriber.load(recipe.base, adapter, batch_seconds=recipe.eval.batch_seconds)
    loop = CardLoop(recipe.base, adapter, adapter_record(adapter))
    transcriber.warm_up()
    loop.transcribe(heard[0].audio)

    lengths = np.array(heard.column("duration"))
    audio_seconds = float(lengths.sum())
    ours, theirs, different = [], [], 0
    for number in range(rounds):
        say(f"Transcriber: round {number + 1} of {rounds}")
        share = np.argsort(lengths, kind="stable")[number::rounds]
        texts, spent = timed(partial(transcribed, transcriber, heard))
        ours.append(spent)
        known, spent = timed(partial(looped, loop, heard, share))
        theirs.append(spent * (audio_seconds / float(lengths[share].sum())))
        different += sum(texts[index] != text for index, text in zip(share, known, strict=True))

    pairs = list(zip(ours, theirs, strict=True))
    our_wall, their_wall = (median(spent.wall for spent in each) for each in (ours, theirs))
    return [
        Measurement(
            f"Transcriber, {len(heard)} clips, by the wall clock",
            median(their.wall / our.wall for our, their in pairs),
            "times as fast",
            f"{LOOP}, a clip at a time",
            at_least=6,
        ),
        Measurement(
            "Transcriber, by CPU time", median(their.cpu / our.cpu for our, their in pairs), "times as fast", LOOP
        ),
        Measurement("Transcriber, texts that differ", different, f"of {len(heard)}", LOOP, at_most=0),
        Measurement(
            "Transcriber, time a clip",
            1000 * our_wall / len(heard),
            "ms",
            f"{LOOP}: {1000 * their_wall / len(heard):.3g} ms",
        ),
        Measurement(
            "Transcriber, RTFx, decoding counted",
            audio_seconds / our_wall,
            "s of audio a second",
            f"{LOOP}: {audio_seconds / their_wall:.3g}",
        ),
    ]


def transcribed(transcriber: Transcriber, clips: Utterances) -> list[str]:
    """What the Transcriber hears, called as evaluation calls it."""
    batches = list(batches_by_seconds(clips.column("duration"), transcriber.batch_seconds))
    heard: dict[int, str] = {}
    for indices, transcripts in transcriber.transcribe_batches(lambda index: read_clip(clips[index]), batches):
        heard |= zip(indices, (transcript.text for transcript in transcripts), strict=True)
    return [heard[index] for index in range(len(clips))]


def looped(loop: "CardLoop", clips: Utterances, share: Sequence[int] | np.ndarray) -> list[str]:
    """What the loop hears in some of the clips."""
    return [loop.transcribe(clips[index].audio) for index in share]
