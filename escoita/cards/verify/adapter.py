"""Compare the adapter, its base and its prompt with the records."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError

from escoita.cards.verify.check import Check, compared, skipped, unprovable
from escoita.cards.verify.recompute import Differences, differing
from escoita.errors import EscoitaError, PublishError
from escoita.evaluation.predictions import Provenance
from escoita.hub.auth import clear_refusals
from escoita.hub.files import SPEECH_LORA, possible_digests
from escoita.hub.retry import retrying
from escoita.models import trained_family
from escoita.models.chat_templates import KNOWN_TEMPLATES, digest
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import BASE, SUBJECT, EvaluationRecord, System
from escoita.records.training import AdapterRecord, BaseRecord, TrainingRecord
from escoita.run_directory import RunDirectory
from escoita.utils.files import sha256
from escoita.utils.limits import NAME_CHARACTERS, read_bounded
from escoita.utils.untrusted import read_object


if TYPE_CHECKING:
    from escoita.models.chat import ChatFamily


ADAPTER = "adapter_model.safetensors"


def check_adapter(folder: Path, told: dict[str, str | None]) -> Check:
    """
    Compares the adapter's weights with the records.

    Args:
        folder (`Path`): What was published.
        told (`dict[str, str]`): What each record says that their digest is, by its name.
    """
    path = folder / ADAPTER
    if not path.is_file():
        return Check("adapter's weights", "differs", [f"there is no {ADAPTER}"])
    digest = hashlib.sha256(bytes.fromhex(sha256(path))).hexdigest()
    wrong = [
        f"{name} is of other weights, {(said or 'none')[:12]}…; these are {digest[:12]}…"
        for name, said in told.items()
        if said != digest
    ]
    return compared("adapter's weights", wrong, f"are those of {' and '.join(told)}")


def base_of(folder: Path) -> str:
    """
    The base that the adapter says it is for.

    Raises:
        EscoitaError: `adapter_config.json` is missing, too large, not JSON, no mapping, or names none.
    """
    path = folder / "adapter_config.json"
    try:
        config = read_object(path, "adapter")
    except EscoitaError as error:
        raise PublishError(f"{str(error).removeprefix('adapter: ')}; so it is no adapter of PEFT") from error
    base = config.get("base_model_name_or_path")
    if not base or not isinstance(base, str):
        raise PublishError(f"{path.name}: names no base; give --base")
    if len(base) > NAME_CHARACTERS:
        raise PublishError(f"{path.name}: the name of its base has {len(base):,} characters")
    return base


def check_named_base(told: dict[str, object], base: str) -> Check:
    """
    Whether all name the same base.

    Args:
        told (`dict[str, object]`): What each file says, by its name.
        base (`str`): What the records say.
    """
    # A list of one is how the Hub's editor writes a value.
    wrong = [
        f"{name}: names {said or 'none'}, and not {base}" for name, said in told.items() if said not in (base, [base])
    ]
    return compared("name of the base", wrong, f"{base} in {', '.join(told)}")


def check_base_weights(api: HfApi, base: str, revision: str | None, digest: str) -> Check:
    """
    Compares the base's weights on the Hub with the digest of the records; nothing is downloaded.

    Args:
        api (`HfApi`): Client of the Hub.
        base (`str`): Repository of the base.
        revision (`str`, *optional*): The one that was trained on.
        digest (`str`): Of [`~escoita.hub.files.weights_digest`].
    """
    what = "base's weights"
    try:
        with clear_refusals(f"base {base}"):
            info = retrying(base, known=False)(api.model_info, base, revision=revision, files_metadata=True)
    except PublishError as error:
        return skipped(what, str(error))
    except HFValidationError:
        return skipped(what, f"{base} is no name of a repository, so the Hub is not asked")
    digests = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings or []}
    names = [name for name in sorted(digests) if name.endswith(".safetensors")]
    root = [name for name in names if "/" not in name]
    speech = [name for name in names if name.startswith(f"{SPEECH_LORA}/") and name.count("/") == 1]
    if not root or any(digests[name] is None for name in [*root, *speech]):
        return skipped(what, f"the Hub tells no digest of the safetensors of {base}")
    if digest in possible_digests({name: digests[name] or "" for name in [*root, *speech]}):
        return Check(what, "holds", [f"{base} holds what was trained on, as the Hub tells its digests"])
    at = f" at {revision}" if revision else ", at the head of main; no record names a commit"
    return Check(what, "differs", [f"{base} holds others than were trained on ({digest[:12]}…){at}"])


def base_differences(recipe: Recipe, training: TrainingRecord, base: BaseRecord | None) -> Differences:
    """
    Yield a line for each difference between recipe, `training.json` and `escoita.json`.

    Args:
        recipe ([`Recipe`]): `recipe.yaml`.
        training ([`TrainingRecord`]): `training.json`.
        base ([`BaseRecord`], *optional*): From `escoita.json`; none in what escoita 0.1.0 wrote.
    """
    asked = recipe.base_revision or ""
    if training.base_commit and re.fullmatch("[0-9a-f]{40}", asked):
        yield from differing({"commit of the base": (asked, training.base_commit)}, "recipe.yaml", "training.json")
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
    Yield a line for each system that was measured on another base than `training.json` names. If its record says so,
    the card says it too, and it is no difference.

    Args:
        training ([`TrainingRecord`]): `training.json`.
        files (`Iterable[tuple[Path, Table, Provenance]]`): The published predictions.
    """
    for path, _, provenance in files:
        name, system = f"{path.parent.name}/{path.name}", provenance.system
        if system.name in (SUBJECT, BASE):
            yield from (f"{name}: {line}" for line in _digests(training, system))


def apart(evaluation: EvaluationRecord) -> Differences:
    """
    Yield a line if adapter and base were measured on different bases. The card says on which base the adapter was.

    Args:
        evaluation ([`~escoita.records.evaluation.EvaluationRecord`]): `eval/results.json`.
    """
    ours = evaluation.main_system
    for system in evaluation.systems[1:]:
        same = (system.base_sha256, system.expected_base_sha256) == (ours.base_sha256, ours.expected_base_sha256)
        if system.name == BASE and not same:
            yield "the adapter was measured on another base than the base that it is compared with"


def _digests(training: TrainingRecord, system: System) -> Differences:
    other = system.expected_base_sha256 is not None
    pairs = {
        "base": (training.base, training.base if other else system.base),
        "digest of the base": (training.base_sha256, system.expected_base_sha256 or system.base_sha256),
        "digest of the adapter": (training.adapter_sha256 if system.name == SUBJECT else None, system.adapter_sha256),
    }
    yield from differing(pairs, "training.json", "the predictions")


WHAT = "rendered prompt"
TEMPLATE, TOKENIZER = "chat_template.jinja", "tokenizer_config.json"
TEMPLATE_BYTES = 1_000_000


def check_rendered_prompt(run: RunDirectory, training: TrainingRecord) -> Check:
    """
    Compare the rendered prompt of `escoita.json` with what the published chat template writes.

    Only a known template is rendered, or the prompt of a family that writes it without one: another template is code
    of whoever published it.

    Args:
        run ([`RunDirectory`]): Published files, laid out as a run directory.
        training ([`TrainingRecord`]): Names the family.

    Raises:
        EscoitaError: A file cannot be read.
    """
    record = AdapterRecord.read(run.path / "escoita.json")
    if record.rendered_prompt is None:
        return skipped(WHAT, "escoita.json does not record it, as that of escoita 0.1.0 does not")
    template = _known_template(run.path / TEMPLATE)
    try:
        family = trained_family(training.family)
        written = None if family is None else family.render(_processor(run.path, template, family), record.prompt)
    except (EscoitaError, ImportError):
        written = None
    if written is None:
        return unprovable(WHAT, f"{TEMPLATE} is not a known chat template, and is not rendered here")
    differs = [f"rendered_prompt: {record.rendered_prompt!r:.200} in escoita.json; {TEMPLATE} writes {written!r:.200}"]
    return compared(WHAT, differs if written != record.rendered_prompt else [], "is what the chat template writes")


def _known_template(path: Path) -> str | None:
    if not path.is_file():
        return None
    template = read_bounded(path, TEMPLATE_BYTES).decode("utf-8", "replace")
    return template if digest(template) in KNOWN_TEMPLATES else None


def _processor(folder: Path, template: str | None, family: "ChatFamily") -> SimpleNamespace:
    """As much of a processor as a prompt is written with."""
    path = folder / TOKENIZER
    settings = read_object(path, "adapter") if path.is_file() else {}
    tokens = {key: value for key, value in settings.items() if key.endswith("_token") and isinstance(value, str)}
    tokenizer = SimpleNamespace(special_tokens_map=tokens)
    return SimpleNamespace(
        chat_template=template, tokenizer=tokenizer, audio_token=tokens.get("audio_token", family.audio_mark)
    )
