"""The rendered prompt: what `escoita.json` says that the chat template wrote is what it writes."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from escoita.cards.verify.check import Check, compared, skipped, unprovable
from escoita.errors import EscoitaError
from escoita.models import trained_family
from escoita.models.known_templates import KNOWN_TEMPLATES
from escoita.models.templates import digest
from escoita.utils.foreign_json import read_object
from escoita.utils.limits import read_bounded
from escoita.records.training import AdapterRecord, TrainingRecord
from escoita.run_directory import RunDirectory


if TYPE_CHECKING:
    from escoita.models.chat import ChatFamily

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
