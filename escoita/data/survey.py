"""The survey: every corpus of a recipe measured, and training compared with what it is tested on."""

from itertools import chain

from escoita.data.describe import describe, duration_edges
from escoita.data.contamination import find_duplicates, find_leaks
from escoita.data.statistics import Measured, measure
from escoita.data.outliers import HEARD_WHOLE_SECONDS
from escoita.data.rows import Rejected
from escoita.records.data import DataRecord, Missing, Split
from escoita.errors import CorpusError
from escoita.utils.files import write_atomically
from escoita.records.plots import duration_plot
from escoita.utils.progress import say
from escoita.recipe.recipe import Recipe
from escoita.run_directory import RunDirectory


SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# What a held-out split is compared with.
SEEN: dict[Split, tuple[Split, ...]] = {"validation": ("train",), "test": ("train", "validation")}


def write_survey(recipe: Recipe, run: RunDirectory, missing_ok: bool = False) -> DataRecord:
    """
    Measures what the corpora of a recipe hold, and writes `data.json` and the plot of durations into a run.

    Args:
        recipe ([`~escoita.recipe.recipe.Recipe`]): Names the corpora and the normaliser.
        run ([`~escoita.run_directory.RunDirectory`]): Where to; not always where the recipe was trained, as runs are moved.
        missing_ok (`bool`, *optional*, defaults to `False`): As in [`survey`].

    Raises:
        CorpusError: A corpus cannot be read, unless `missing_ok`.
    """
    record = survey(recipe, missing_ok)
    record.write(run.data)
    write_atomically(run.durations, duration_plot(record.duration_edges, record.histograms))
    return record


def survey(recipe: Recipe, missing_ok: bool = False, max_audio_seconds: float = HEARD_WHOLE_SECONDS) -> DataRecord:
    """
    Measures what the corpora of a recipe hold.

    Args:
        recipe ([`~escoita.recipe.recipe.Recipe`]): Names the corpora and the normaliser.
        missing_ok (`bool`, *optional*, defaults to `False`): Records a corpus that cannot be read as missing, and
            goes on.
        max_audio_seconds (`float`, *optional*, defaults to 30): Longest clip that the model hears whole.

    Returns:
        [`~escoita.records.data.DataRecord`]: Without folders of this machine.

    Raises:
        CorpusError: A corpus cannot be read, unless `missing_ok`.
    """
    parts: dict[Split, list[Measured]] = {split: [] for split in SPLITS}
    rejected: dict[tuple[Split, str], list[Rejected]] = {}
    missing = []
    for split in SPLITS:
        for corpus in getattr(recipe.corpora, split):
            try:
                part, rejected[split, corpus.name] = measure(corpus, split, recipe.language)
                parts[split].append(part)
            except CorpusError as error:
                if not missing_ok:
                    raise
                say(f"Not compared: {error}")
                missing.append(Missing(split=split, name=corpus.name))
    every = list(chain.from_iterable(parts.values()))
    edges = duration_edges([part.seconds for part in every])
    return DataRecord(
        name=recipe.name,
        max_audio_seconds=max_audio_seconds,
        normalizer=recipe.eval.normalizer,
        duration_edges=edges,
        corpora=[
            describe(part, rejected[part.split, part.corpus], edges, recipe.eval.normalizer, max_audio_seconds)
            for part in every
        ],
        missing=missing,
        duplicates=[found for split in SPLITS if parts[split] for found in find_duplicates(parts[split])],
        leaks=[
            leak
            for split, others in SEEN.items()
            for part in parts[split]
            if (seen := [each for other in others for each in parts[other]])
            for leak in find_leaks(part, seen)
        ],
    )
