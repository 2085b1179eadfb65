"""Compare the adapter, its base and its prompt with the records."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi

from escoita.cards.verify.check import Check, compared, skipped, unprovable
from escoita.cards.verify.recompute import Differences, differing
from escoita.errors import EscoitaError, PublishError
from escoita.evaluation.predictions import Provenance
from escoita.hub.failures import explain_hub_errors
from escoita.hub.files import SPEECH_LORA, possible_digests
from escoita.hub.retry import retrying
from escoita.models import trained_family
from escoita.models.chat_templates import KNOWN_TEMPLATES, digest
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import ADAPTER_SYSTEM, BASE, EvaluationRecord, System
from escoita.records.training import AdapterRecord, BaseRecord, TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.utils.files import sha256
from escoita.utils.limits import NAME_CHARACTERS, read_bounded
from escoita.utils.untrusted import read_object


if TYPE_CHECKING:
    from escoita.models.trainable import TrainableFamily


ADAPTER = "adapter_model.safetensors"


def check_adapter(folder: Path, recorded: dict[str, str | None]) -> Check:
    """
    Compare the weights of the adapter with the records.

    Args:
        folder (`Path`): Folder with the published files.
        recorded (`dict[str, str]`): Digest of the weights in each record, by the name of the record.
    """
    path = folder / ADAPTER
    if not path.is_file():
        return Check("adapter's weights", "differs", [f"{ADAPTER} not found"])
    digest = hashlib.sha256(bytes.fromhex(sha256(path))).hexdigest()
    wrong = [
        f"{name} records the digest {(expected or 'none')[:12]}…, the weights have {digest[:12]}…"
        for name, expected in recorded.items()
        if expected != digest
    ]
    return compared("adapter's weights", wrong, f"same digest in {' and '.join(recorded)}")


def base_of(folder: Path) -> str:
    """
    Return the base in `adapter_config.json`.

    Raises:
        EscoitaError: The file cannot be read, or names no base.
    """
    path = folder / "adapter_config.json"
    base = read_object(path, "PEFT adapter").get("base_model_name_or_path")
    if not base or not isinstance(base, str):
        raise PublishError("no base", path=path.name, key="base_model_name_or_path", hint="add --base")
    if len(base) > NAME_CHARACTERS:
        problem = f"name of {len(base):,} characters"
        raise PublishError(problem, path=path.name, key="base_model_name_or_path")
    return base


def check_named_base(named: dict[str, object], base: str) -> Check:
    """
    Check that all files name the same base.

    Args:
        named (`dict[str, object]`): Base in each file, by the name of the file.
        base (`str`): Base in the records.
    """
    # The Hub's editor writes a value as a list of one.
    wrong = [
        f"{name}: {value or 'no base'}, expected {base}"
        for name, value in named.items()
        if value not in (base, [base])
    ]
    return compared("name of the base", wrong, f"{base} in {', '.join(named)}")


def check_base_weights(api: HfApi, base: str, revision: str | None, digest: str) -> Check:
    """
    Compare the weights of the base on the Hub with the digest in the records, without a download.

    Args:
        api (`HfApi`): Client of the Hub.
        base (`str`): Repository of the base.
        revision (`str`, *optional*): Revision of the training.
        digest (`str`): Digest from [`~escoita.hub.files.weights_digest`].
    """
    what = "base's weights"
    try:
        with explain_hub_errors(base, "base", value=revision):
            info = retrying(base, known=False)(api.model_info, base, revision=revision, files_metadata=True)
    except PublishError as error:
        return skipped(what, str(error))
    digests = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings or []}
    names = [name for name in sorted(digests) if name.endswith(".safetensors")]
    root = [name for name in names if "/" not in name]
    speech = [name for name in names if name.startswith(f"{SPEECH_LORA}/") and name.count("/") == 1]
    if not root or any(digests[name] is None for name in [*root, *speech]):
        return skipped(what, f"the Hub has no digests of the safetensors of {base}")
    if digest in possible_digests({name: digests[name] or "" for name in [*root, *speech]}):
        return Check(what, "holds", [f"{base} has the weights of the training, by the digests of the Hub"])
    at = f" at {revision}" if revision else " at the head of main; no record names a commit"
    return Check(what, "differs", [f"{base} has other weights than those of the training ({digest[:12]}…){at}"])


def base_differences(recipe: Recipe, training: TrainingRecord, base: BaseRecord | None) -> Differences:
    """
    Yield a line for each difference between recipe, `training.json` and `escoita.json`.

    Args:
        recipe ([`Recipe`]): Recipe from `recipe.yaml`.
        training ([`TrainingRecord`]): Record from `training.json`.
        base ([`BaseRecord`], *optional*): Record from `escoita.json`; `None` if escoita 0.1.0 wrote the file.
    """
    revision = recipe.base_revision or ""
    if training.base_commit and re.fullmatch("[0-9a-f]{40}", revision):
        yield from differing({"commit of the base": (revision, training.base_commit)}, "recipe.yaml", "training.json")
    if base is None:
        if training.base_commit:
            yield "base: training.json names its commit, escoita.json does not"
        return
    pairs: dict[str, tuple[Any, Any]] = {
        "commit of the base": (training.base_commit, base.commit),
        "digest of the base": (training.base_sha256, base.sha256),
        "other base": (None, base.expected_sha256),
    }
    if training.base_commit:  # a base that was a folder is published under another name
        pairs["base"] = (training.base, base.name)
    yield from differing(pairs, "training.json", "escoita.json")


def system_differences(training: TrainingRecord, files: Iterable[tuple[Path, Any, Provenance]]) -> Differences:
    """
    Yield a line for each system that was evaluated on another base than that of `training.json`. It is no difference
    if its record and the card state it.

    Args:
        training ([`TrainingRecord`]): Record from `training.json`.
        files (`Iterable[tuple[Path, Table, Provenance]]`): Published predictions.
    """
    for path, _, provenance in files:
        name, system = f"{path.parent.name}/{path.name}", provenance.system
        if system.name in (ADAPTER_SYSTEM, BASE):
            yield from (f"{name}: {line}" for line in _digests(training, system))


def base_mismatches(evaluation: EvaluationRecord) -> Differences:
    """
    Yield a line if adapter and base were evaluated on different bases. The card names the base of the adapter.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): Record from `eval/results.json`.
    """
    ours = evaluation.main_system
    for system in evaluation.systems[1:]:
        same = (system.base_sha256, system.expected_base_sha256) == (ours.base_sha256, ours.expected_base_sha256)
        if system.name == BASE and not same:
            yield "the adapter was evaluated on another base than the base model in the comparison"


def _digests(training: TrainingRecord, system: System) -> Differences:
    other = system.expected_base_sha256 is not None
    pairs = {
        "base": (training.base, training.base if other else system.base),
        "digest of the base": (training.base_sha256, system.expected_base_sha256 or system.base_sha256),
        "digest of the adapter": (
            training.adapter_sha256 if system.name == ADAPTER_SYSTEM else None,
            system.adapter_sha256,
        ),
    }
    yield from differing(pairs, "training.json", "the predictions")


WHAT = "rendered prompt"
TEMPLATE, TOKENIZER = "chat_template.jinja", "tokenizer_config.json"
TEMPLATE_BYTES = 1_000_000


def check_rendered_prompt(run: RunDirectory, training: TrainingRecord) -> Check:
    """
    Compare the rendered prompt of `escoita.json` with what the published chat template writes.

    Only a known template is rendered, or the prompt of a family without a template: an unknown template is untrusted
    code of the publisher.

    Args:
        run ([`RunDirectory`]): Published files, laid out as a run directory.
        training ([`TrainingRecord`]): Training record with the family.

    Raises:
        EscoitaError: A file cannot be read.
    """
    record = AdapterRecord.read(run.path / "escoita.json")
    if record.rendered_prompt is None:
        return skipped(WHAT, "escoita.json does not record it, as in escoita 0.1.0")
    template = _known_template(run.path / TEMPLATE)
    try:
        family = trained_family(training.family)
        written = None if family is None else family.rendered_prompt(_processor(run.path, template, family), record)
    except (EscoitaError, ImportError):
        written = None
    if written is None:
        return unprovable(WHAT, f"{TEMPLATE} is not a known chat template, and is not rendered")
    differs = [f"rendered_prompt: {record.rendered_prompt!r:.200} in escoita.json; {TEMPLATE} writes {written!r:.200}"]
    return compared(
        WHAT, differs if written != record.rendered_prompt else [], "equals the output of the chat template"
    )


def _known_template(path: Path) -> str | None:
    if not path.is_file():
        return None
    template = read_bounded(path, TEMPLATE_BYTES).decode("utf-8", "replace")
    return template if digest(template) in KNOWN_TEMPLATES else None


def _processor(folder: Path, template: str | None, family: "TrainableFamily") -> SimpleNamespace:
    """Return the attributes of a processor that rendering a prompt needs."""
    path = folder / TOKENIZER
    settings = read_object(path, "adapter") if path.is_file() else {}
    tokens = {key: value for key, value in settings.items() if key.endswith("_token") and isinstance(value, str)}
    tokenizer = SimpleNamespace(special_tokens_map=tokens)
    audio_token = tokens.get("audio_token", getattr(family, "audio_placeholder", None))
    return SimpleNamespace(chat_template=template, tokenizer=tokenizer, audio_token=audio_token)
