"""Compare the published records with each other: every value that two files hold must be the same in both."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from escoita.cards.published_base import base_revision
from escoita.cards.verify.adapter import (
    ADAPTER,
    base_differences,
    base_mismatches,
    check_rendered_prompt,
    system_differences,
)
from escoita.cards.verify.check import Check, compared, skipped
from escoita.cards.verify.data_record import (
    corpora_differences,
    overlap_differences,
    prediction_differences,
    training_splits,
)
from escoita.cards.verify.evaluation_settings import evaluation_differences, too_few_resamples
from escoita.cards.verify.recompute import Differences, differing
from escoita.evaluation.predictions import Provenance, predictions_path, read_predictions
from escoita.metrics.primary import metric_name
from escoita.models.families import BY_MODEL_TYPE
from escoita.models.weight_files import non_finite_tensors, tensor_headers
from escoita.recipe.schema import Lora, Recipe
from escoita.records.data import DataRecord
from escoita.records.evaluation import EvaluationRecord
from escoita.records.training import AdapterRecord, TrainingRecord
from escoita.run_directory import UNCHANGED_FILES, RunDirectory
from escoita.utils.files import sha256
from escoita.utils.untrusted import read_object


# Files that every run writes and `escoita push` publishes.
REQUIRED = (
    "recipe.yaml",
    "training.json",
    "data.json",
    "escoita.json",
    "adapter_config.json",
    ADAPTER,
    "eval/results.json",
    "SHA256SUMS",
)
# Settings of PEFT that change an adapter, and that no recipe of escoita has.
UNSUPPORTED = (
    "alora_invocation_tokens",
    "arrow_config",
    "auto_mapping",
    "exclude_modules",
    "fan_in_fan_out",
    "layer_replication",
    "layers_pattern",
    "lora_bias",
    "megatron_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
)


def check_presence(files: Mapping[str, Path]) -> Check:
    """
    Check that the repository has every record that a run writes.

    Args:
        files (`Mapping[str, Path]`): Published files by name.
    """
    missing = [f"{name}: missing" for name in REQUIRED if name not in files]
    return compared("records", missing, f"all {len(REQUIRED)} required files exist")


def check_consistency(run: RunDirectory, recipe: Recipe, weights: Path) -> Iterator[Check]:
    """
    Compare the records of a repository with each other.

    Args:
        run ([`RunDirectory`]): Published files, laid out as a run directory; weights may be absent.
        recipe ([`Recipe`]): Published recipe.
        weights (`Path`): Folder with the weights of the adapter.

    Raises:
        EscoitaError: A record is missing or cannot be read.
    """
    training, evaluation = TrainingRecord.read(run.training), EvaluationRecord.read(run.results)
    files = list(_predictions(run.eval))
    yield compared("recipe and training.json", list(_training(recipe, training)), "name, base, method, steps, corpora")
    yield compared("course of training", list(_course(training)), "steps, losses and validation are consistent")
    yield compared("recipe and adapter", list(_adapter(run, recipe, training, weights)), "rank, targets, size, prompt")
    yield _adapter_files(run, training)
    yield check_rendered_prompt(run, training)
    yield compared(
        "recipe and results.json",
        list(evaluation_differences(recipe, evaluation, training)),
        "corpora, systems, normalizer, limits",
    )
    yield compared(
        "bases of all files",
        [*system_differences(training, files), *base_mismatches(evaluation)],
        "same digest in all records and predictions",
    )
    yield compared("clips of the test corpora", list(_rows(files)), "ids are unique")
    if run.data.is_file():
        data = DataRecord.read(run.data)
        found = [
            *corpora_differences(recipe, training, data),
            *overlap_differences(data),
            *prediction_differences(data, files),
        ]
        yield compared("data.json and other records", found, "clips, durations and rejected rows")
        for absent in data.missing:
            what = f"data.json: {absent.name} ({absent.split})"
            yield skipped(what, "the corpus was missing when data.json was written")


def check_contributed(run: RunDirectory) -> Iterator[Check]:
    """
    Compare the records of an evaluation that was contributed to an adapter trained without escoita.

    Args:
        run ([`RunDirectory`]): Published files, laid out as a run directory.
    """
    evaluation = EvaluationRecord.read(run.results)
    yield compared("results.json", list(too_few_resamples(evaluation)), f"{evaluation.resamples} resamples")
    yield compared("clips of the test corpora", list(_rows(list(_predictions(run.eval)))), "ids are unique")


def _predictions(folder: Path) -> Iterator[tuple[Path, Any, Provenance]]:
    for path in sorted(folder.glob("*/predictions*.parquet")):
        table, provenance = read_predictions(path)
        yield path, table, provenance


def _training(recipe: Recipe, training: TrainingRecord) -> Differences:
    pairs = {
        "name": (recipe.name, training.name),
        "base": (recipe.base, training.base),
        "engine": (recipe.engine, training.engine),
        "method": (recipe.method.kind, training.method),
        "load_in_4bit": (recipe.load_in_4bit, training.load_in_4bit),
    }
    if training.seed is not None and "seed" in recipe.training:
        pairs["seed"] = (recipe.training["seed"], training.seed)
    if not training.versions.get("escoita", "").startswith("0.1."):  # escoita 0.1.0 had the WER only
        pairs["primary"] = (recipe.primary, training.primary)
    yield from differing(pairs, "recipe.yaml", "training.json")
    for tower, expected in recipe.method.trainable.items():
        count = training.trainable_parameters.get(tower, 0)
        wrong = count != expected if isinstance(expected, int) else (count > 0) != (expected == "some")
        if wrong:
            yield f"trainable parameters, {tower}: {expected} in recipe.yaml, {count} in training.json"
    named = {(split, corpus.name) for split, corpora in training_splits(recipe).items() for corpus in corpora}
    if recipe.training.get("eval_strategy") in ("no", False):  # then training does not read them
        named = {(split, name) for split, name in named if split != "validation"}
    used = {(use.split, use.name) for use in training.corpora}
    for split, name in sorted(used ^ named):
        where = "training.json, not in recipe.yaml" if (split, name) in used else "recipe.yaml, not in training.json"
        yield f"corpus {name} ({split}): in {where}"
    rejected = sum(use.rejected for use in training.corpora)
    if rejected != len(training.rejected):
        yield f"rejected rows: {rejected} counted, {len(training.rejected)} listed in training.json"
    yield from _steps(recipe, training)


def _steps(recipe: Recipe, training: TrainingRecord) -> Differences:
    """Compare steps and epochs with the limits of the recipe, and with the number of clips in a step."""
    settings = recipe.training
    most_steps = settings.get("max_steps") or -1
    most_epochs = settings.get("num_train_epochs", 3.0)
    if not all(isinstance(value, int | float) for value in (most_steps, most_epochs)):
        yield "training: max_steps or num_train_epochs is not a number in recipe.yaml"
        return
    if most_steps > 0:
        if training.steps > most_steps:
            yield f"steps: at most {most_steps} in recipe.yaml, {training.steps} in training.json"
    elif training.epochs > most_epochs + 0.01:
        yield f"epochs: at most {most_epochs} in recipe.yaml, {training.epochs:g} in training.json"
    sizes = [settings.get("per_device_train_batch_size", 8), settings.get("gradient_accumulation_steps", 1)]
    weights = {corpus.name: corpus.weight for corpus in recipe.corpora.train}
    clips = sum(use.utterances * weights.get(use.name, 1.0) for use in training.corpora if use.split == "train")
    if not all(isinstance(size, int) and size > 0 for size in sizes) or not clips:
        return
    expected = training.epochs * clips / (sizes[0] * sizes[1] * training.processes)
    # The last batch of an epoch is smaller; rounding of weights and of partial accumulation adds a little.
    if abs(training.steps - expected) > 2 + 0.05 * expected + training.epochs:
        yield (
            f"steps: {training.steps} in training.json, but {training.epochs:g} epochs of {clips:g} clips in batches"
            f" of {sizes[0] * sizes[1] * training.processes} are about {expected:.0f}"
        )


def _course(training: TrainingRecord) -> Differences:
    points = [("loss", point.step) for point in training.loss]
    points += [("validation", point.step) for point in training.validation]
    for kind, step in points:
        if not 0 <= step <= training.steps:
            yield f"{kind}: step {step} of {training.steps} in training.json"
    for kind in ("loss", "validation"):
        steps = [step for name, step in points if name == kind]
        if steps != sorted(set(steps)):
            yield f"{kind}: steps are not in ascending order in training.json"
    changes = [change.step for change in training.data_changes]
    if changes != sorted(set(changes)) or any(not 0 < step < training.steps for step in changes):
        yield f"data_changes: steps {changes} are not in ascending order, or not within the {training.steps} steps"
    extended = training.extensions
    steps = [each.step for each in extended]
    if steps != sorted(steps) or any(not 0 < step <= training.steps for step in steps):
        yield f"extensions: steps {steps} are not in ascending order, or not within the {training.steps} steps"
    limits = [limit for each in extended for limit in (each.before, each.now)]
    if any(each.now <= each.before for each in extended) or limits[1:-1:2] != limits[2::2]:
        yield "extensions: the limits do not follow one another"
    compared_steps = (point for point in training.validation if point.step > training.comparable_since)
    rates = {point.step: getattr(point, training.primary) for point in compared_steps if point.wer is not None}
    best = training.kept_step
    if best is not None and best not in rates:
        yield f"kept_step: step {best} was not evaluated according to training.json"
    elif best is not None and any(rate < rates[best] for step, rate in rates.items() if step > 0):
        metric = metric_name(training.primary)
        yield f"kept_step: another step than {best} has a lower validation {metric} in training.json"
    if sum(training.trainable_parameters.values()) > training.parameters:
        yield "parameters: more trainable parameters than parameters in training.json"


def _adapter(run: RunDirectory, recipe: Recipe, training: TrainingRecord, weights: Path) -> Differences:
    config = read_object(run.path / "adapter_config.json", "adapter")
    info = BY_MODEL_TYPE.get(training.family)
    whole = info.whole_modules(getattr(recipe.method, "modules", ())) if info else []
    expected: dict[str, Any] = {"revision": base_revision(recipe, training)}
    if isinstance(recipe.method, Lora):
        expected |= recipe.method.model_dump(exclude={"kind", "trainable", "language_token", "target_lang"})
        expected |= {"modules_to_save": whole or None}
    elif set(config.get("modules_to_save") or []) != {*recipe.method.modules, *whole}:
        yield "modules_to_save: the modules in adapter_config.json differ from those in recipe.yaml"
    expected |= {"rank_pattern": {}, "alpha_pattern": {}, "use_dora": False, "layers_to_transform": None}
    yield from differing(
        {key: (value, config.get(key, value if key in _DEFAULTED else None)) for key, value in expected.items()},
        "recipe.yaml",
        "adapter_config.json",
    )
    yield from (
        f"{key}: set in adapter_config.json, but no recipe can set it" for key in UNSUPPORTED if config.get(key)
    )
    if config.get("peft_type", "LORA") != "LORA":
        yield "peft_type: adapter_config.json has another method than LORA"
    record = AdapterRecord.read(run.path / "escoita.json")
    unset = {"base", "rendered_prompt"}
    unset |= {key for key in ("language_token", "target_lang") if getattr(recipe.method, key) is None}
    settings, recorded = recipe.generation_settings().model_dump(exclude=unset), record.model_dump()
    yield from differing({key: (settings[key], recorded[key]) for key in settings}, "recipe.yaml", "escoita.json")
    yield from base_differences(recipe, training, record.base)
    if not (weights / ADAPTER).is_file():
        return
    headers = tensor_headers(weights / ADAPTER, "adapter")
    shapes = {name: tuple(each["shape"]) for name, each in headers.items()}
    if wrong := non_finite_tensors(weights / ADAPTER, "adapter"):
        yield f"{ADAPTER}: {len(wrong)} tensors contain NaN or infinity, such as {wrong[0]}"
    if isinstance(recipe.method, Lora):
        for name, shape in shapes.items():
            rank = shape[0] if ".lora_A." in name else shape[1] if ".lora_B." in name and len(shape) > 1 else None
            if rank is not None and rank != recipe.method.r:
                yield f"{ADAPTER}: {name} has rank {rank}, {recipe.method.r} in recipe.yaml"
    size = sum(_product(shape) for shape in shapes.values())
    trained = sum(training.trainable_parameters.values())
    # Fully fine-tuned modules are saved with their buffers, such as the mean of the features.
    if size != trained if isinstance(recipe.method, Lora) else size < trained:
        yield f"{ADAPTER}: {size:,} parameters, {trained:,} trainable parameters in training.json"


# Keys that PEFT versions before the first release of escoita's format may leave out.
_DEFAULTED = {"rank_pattern", "alpha_pattern", "use_dora", "layers_to_transform", "modules_to_save", "use_rslora"}


def _product(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _adapter_files(run: RunDirectory, training: TrainingRecord) -> Check:
    """Compare tokenizer, processor, chat template and escoita.json with the digests recorded at training time."""
    what = "files of the adapter"
    if not training.adapter_files:
        return skipped(what, "training.json has no digests of them, as in escoita 0.1.0")
    found = []
    for name, digest in training.adapter_files.items():
        path = run.path / Path(name).name
        if not path.is_file():
            found.append(f"{name}: missing, but in training.json")
        elif sha256(path) != digest:
            found.append(f"{name}: differs from the file of the training")
    others = [name for name in UNCHANGED_FILES if name not in training.adapter_files and (run.path / name).is_file()]
    found += [f"{name}: not written by the training, but tokenizer or processor are loaded from it" for name in others]
    return compared(what, found, f"{', '.join(training.adapter_files)} are unchanged since the training")


def _rows(files: list[tuple[Path, Any, Provenance]]) -> Differences:
    for path, table, provenance in files:
        name, ids = f"{path.parent.name}/{path.name}", table["id"].to_pylist()
        if provenance.corpus != path.parent.name:
            yield f"{name}: predictions for {provenance.corpus}"
        if predictions_path(path.parent.parent, path.parent.name, provenance.system.name) != path:
            yield f"{name}: predictions of {provenance.system.name}"
        if len(set(ids)) < len(ids):
            yield f"{name}: {len(ids) - len(set(ids))} repeated ids"
        if any(not 0 < seconds < float("inf") for seconds in table["audio_seconds"].to_pylist()):
            yield f"{name}: the duration of a clip is not positive"
