"""Measure the Transcriber, compared with the code of the Uzbek card: same model, same clips, same texts."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bench.clock import timed
from bench.measurement import Measurement
from bench.quickstart import load_clips
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
    Measure the time of the Transcriber and of the loop for the same clips.

    In each round, the Transcriber transcribes all clips, and the loop a share of them, so that it transcribes each
    clip once in all rounds, and other processes on the machine affect both equally. The shares are similar: every
    fifth clip by length. The time of the loop is scaled by seconds of audio. Both times include decoding, features and
    generation, but not the loading of the models and a warm-up.

    Args:
        run (`Path`): Run directory of a trained quick start.
        clips (`int`, *optional*, defaults to 300): Number of clips: all test clips, then training clips.
        rounds (`int`, *optional*, defaults to 5): Number of rounds.

    Raises:
        EscoitaError: The run has no adapter.
    """
    from bench.card_loop import CardLoop

    adapter, recipe = RunDirectory(run).trained_adapter(), RunDirectory(run).load_recipe()
    utterances = load_clips("uz")[:clips]
    transcriber = Transcriber.load(recipe.base, adapter, batch_seconds=recipe.eval.batch_seconds)
    loop = CardLoop(recipe.base, adapter, adapter_record(adapter))
    transcriber.warm_up()
    loop.transcribe(utterances[0].audio)

    lengths = np.array(utterances.column("duration"))
    audio_seconds = float(lengths.sum())
    ours, theirs, different = [], [], 0
    for number in range(rounds):
        say(f"Transcriber: round {number + 1} of {rounds}")
        share = np.argsort(lengths, kind="stable")[number::rounds]
        texts, spent = timed(partial(transcribed, transcriber, utterances))
        ours.append(spent)
        known, spent = timed(partial(looped, loop, utterances, share))
        theirs.append(spent * (audio_seconds / float(lengths[share].sum())))
        different += sum(texts[index] != text for index, text in zip(share, known, strict=True))

    pairs = list(zip(ours, theirs, strict=True))
    our_wall, their_wall = (median(spent.wall for spent in each) for each in (ours, theirs))
    return [
        Measurement(
            f"Transcriber, {len(utterances)} clips, by the wall clock",
            median(their.wall / our.wall for our, their in pairs),
            "times as fast",
            f"{LOOP}, a clip at a time",
            at_least=6,
        ),
        Measurement(
            "Transcriber, by CPU time", median(their.cpu / our.cpu for our, their in pairs), "times as fast", LOOP
        ),
        Measurement("Transcriber, texts that differ", different, f"of {len(utterances)}", LOOP, at_most=0),
        Measurement(
            "Transcriber, time a clip",
            1000 * our_wall / len(utterances),
            "ms",
            f"{LOOP}: {1000 * their_wall / len(utterances):.3g} ms",
        ),
        Measurement(
            "Transcriber, RTFx, decoding counted",
            audio_seconds / our_wall,
            "s of audio a second",
            f"{LOOP}: {audio_seconds / their_wall:.3g}",
        ),
    ]


def transcribed(transcriber: Transcriber, clips: Utterances) -> list[str]:
    """Return the transcripts of the Transcriber, called as in an evaluation."""
    batches = list(batches_by_seconds(clips.column("duration"), transcriber.batch_seconds))
    texts: dict[int, str] = {}
    for indices, transcripts in transcriber.transcribe_batches(lambda index: read_clip(clips[index]), batches):
        texts |= zip(indices, (transcript.text for transcript in transcripts), strict=True)
    return [texts[index] for index in range(len(clips))]


def looped(loop: "CardLoop", clips: Utterances, share: Sequence[int] | np.ndarray) -> list[str]:
    """Return the transcripts of the loop for some of the clips."""
    return [loop.transcribe(clips[index].audio) for index in share]
