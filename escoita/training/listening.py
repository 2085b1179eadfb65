"""What the model hears while it trains: always the same clips of the validation corpora."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from accelerate import PartialState

from escoita.inference.batching import batches_by_seconds
from escoita.data.clips import read_clip
from escoita.data.rows import Utterances
from escoita.errors import EscoitaError, TrainingError
from escoita.models.chat import ChatFamily
from escoita.utils.interruption import StopRequest
from escoita.utils.processes import gathered
from escoita.recipe.recipe import Recipe
from escoita.records.training import AdapterRecord
from escoita.metrics.scoring import character_edits, word_edits
from escoita.metrics.normalizers import normalizer
from escoita.inference.transcriber import Transcriber
from escoita.training.inference import inference_undone
from escoita.training.interruption import ValidationInterrupted


# Not the training's own, so that runs of several seeds are heard on the same clips.
SEED = 0


@dataclass
class Listening:
    """
    A fixed sample of the validation clips, and how they are heard.

    Args:
        clips ([`Utterances`]): The sample.
        family ([`ChatFamily`]): How the model is spoken to.
        processor: The family's processor.
        spoken ([`AdapterRecord`]): Prompt, language and limit of tokens.
        normalizer (`str`): Makes texts alike before they are compared.
        batch_seconds (`float`): Most audio at once, padding counted.
    """

    clips: Utterances
    family: ChatFamily
    processor: Any
    spoken: AdapterRecord
    normalizer: str
    batch_seconds: float
    # Kept, as it remembers what fits in memory.
    _transcriber: Transcriber | None = field(default=None, init=False, repr=False)

    @classmethod
    def to(cls, clips: Utterances, recipe: Recipe, family: ChatFamily, processor: Any) -> Self:
        """Draws the sample that a recipe asks for from all clips of the validation corpora."""
        drawn = clips.take(sample(clips.column("corpus"), recipe.validation.clips))
        return cls(drawn, family, processor, recipe.spoken(), recipe.eval.normalizer, recipe.eval.batch_seconds)

    def rates(self, model: Any, request: StopRequest) -> dict[str, float]:
        """
        Hears the sample, each process its share of the batches.

        Args:
            model: In the midst of training, not wrapped; left as it was.
            request ([`StopRequest`]): Stops it after the batch of this process that is being transcribed.

        Returns:
            `dict[str, float]`: `wer` and `cer` of the whole sample, fractions, the same on every process; the
            `utterances` heard and the `listening_seconds` that it took.

        Raises:
            TrainingError: A clip cannot be read any more; on every process.
            ValidationInterrupted: One of the processes was asked to stop; on every process.
        """
        started = time.perf_counter()
        state = PartialState()
        batches = list(batches_by_seconds(self.clips.column("audio_seconds"), self.batch_seconds))
        mine: dict[int, str] = {}
        refusal = ""
        try:
            with inference_undone(model, self.processor):
                mine = self._heard(model, batches[state.process_index :: state.num_processes], request)
        except EscoitaError as error:
            refusal = str(error)
        shares = gathered((mine, refusal, request.signum), state)
        if refused := [said for _, said, _ in shares if said]:
            raise TrainingError(f"validation: {refused[0]}; give the command again to go on from the last checkpoint")
        if any(signum for _, _, signum in shares):
            raise ValidationInterrupted
        heard = {index: text for share, _, _ in shares for index, text in share.items()}
        alike = normalizer(self.normalizer)
        references = [alike(text) for text in self.clips.column("text")]
        hypotheses = [alike(heard[index]) for index in range(len(references))]
        return {
            "wer": word_edits(references, hypotheses).rate,
            "cer": character_edits(references, hypotheses).rate,
            "utterances": len(references),
            "listening_seconds": round(time.perf_counter() - started, 3),
        }

    def _heard(self, model: Any, batches: Iterable[list[int]], request: StopRequest) -> dict[int, str]:
        """What is heard in these batches, by the place of the clip in the sample."""
        if self._transcriber is None:
            self._transcriber = Transcriber(self.family, model, self.processor, self.spoken, self.batch_seconds)
        self._transcriber.model = model.eval()
        found = self._transcriber.in_batches(lambda index: read_clip(self.clips[index]), batches)
        heard: dict[int, str] = {}
        for indices, transcripts in found:
            heard |= {index: transcript.text for index, transcript in zip(indices, transcripts, strict=True)}
            if request.signum:
                break
        return heard


def sample(corpora: list[str], clips: int) -> list[int]:
    """
    Draws clips in proportion to their corpora, at least one of each, always the same ones.

    Args:
        corpora (`list[str]`): The corpus of every clip.
        clips (`int`): How many are wanted; one of each corpus comes even so.

    Returns:
        `list[int]`: Indices, rising.
    """
    draw = np.random.default_rng(SEED)
    names, which, sizes = np.unique(np.array(corpora, object), return_inverse=True, return_counts=True)
    # One of each, and of the others as many of each corpus as its share; what rounding left over, by what it took.
    left = max(0, min(clips, len(corpora)) - len(names))
    exact = left * (sizes - 1) / max(1, sum(sizes - 1))
    counts = exact.astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: left - counts.sum()]] += 1
    drawn = [draw.permutation(np.flatnonzero(which == place))[: 1 + count] for place, count in enumerate(counts)]
    return sorted(int(index) for part in drawn for index in part)
