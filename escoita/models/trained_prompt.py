"""The processor and the chat template that an adapter was trained with, and the prompt that they write."""

import copy
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record, file_if_any, split_revision
from escoita.records.training import AdapterRecord, Prompt
from escoita.utils.formatting import visible
from escoita.utils.processes import say


if TYPE_CHECKING:
    from escoita.models.base import Family
    from escoita.models.chat import ChatFamily

TEMPLATE = "chat_template.jinja"
# Of these a processor has one or both.
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
SHOWN = 300


def trained_processor(family: "Family", processor: Any, adapter: str, prompt: Prompt) -> Any:
    """
    Load the processor that an adapter was trained with.

    Escoita saves it next to the weights. Of an adapter that was trained elsewhere, and whose processor may be
    incomplete, only the chat template is used.

    Args:
        family ([`~escoita.models.base.Family`]): Of the base.
        processor: Of the base.
        adapter (`str`): A folder, or a repository of the Hub.
        prompt ([`Prompt`]): Compared between base and adapter if the adapter has no record.

    Returns:
        The adapter's processor; that of the base if the adapter has none, or the same.

    Raises:
        EscoitaError: A file cannot be used, the tokenizer is not that of the base, or the processor writes another
            prompt than the adapter was trained with.
    """
    from escoita.models.chat import ChatFamily

    if not isinstance(family, ChatFamily):
        return processor
    record = adapter_record(adapter) if _file(adapter, "escoita.json") else None
    own = _saved_processor(family, adapter) if record else None
    if own is not None:
        _check_tokens(own.tokenizer, processor.tokenizer, adapter)
        own = processor if _alike(own, processor) else own
    else:
        own = _with_template(processor, adapter)
    if record is not None:
        check_prompt(f"adapter {adapter}", family, own, record)
        prompt = record.prompt
    if own is not processor:
        _compare_with_base(family, own, processor, prompt, f"adapter {adapter}")
    return own


def check_prompt(what: str, family: "Family", processor: Any, record: AdapterRecord) -> None:
    """
    Compare the prompt that was trained with the prompt that a processor writes now.

    Args:
        what (`str`): Names the adapter, or the merged model.
        family ([`~escoita.models.base.Family`]): Of the base.
        processor: That is to be used.
        record ([`AdapterRecord`]): Of the adapter; one without the rendered prompt is not compared.

    Raises:
        EscoitaError: The two differ; both are shown.
    """
    from escoita.models.chat import ChatFamily

    if record.rendered_prompt is None or not isinstance(family, ChatFamily):
        return
    now = family.render(processor, record.prompt)
    if now != record.rendered_prompt:
        trained, written = _from_difference(record.rendered_prompt, now)
        raise EscoitaError(
            f"{what}: was trained with the prompt {trained}, but its chat template now writes {written}; use the files"
            " that were saved with the adapter, and the version of escoita that trained it"
        )


def _file(adapter: str, name: str) -> Path | None:
    """A file of the adapter; none if there is none, or if it is not in the cache and the Hub cannot be asked."""
    try:
        return file_if_any(adapter, name)
    except EscoitaError:
        return None


def _saved_processor(family: "ChatFamily", adapter: str) -> Any:
    """The processor that was saved with the adapter, if it was."""
    from escoita.models.processor_files import LIMITS, check_processor_files

    if not _file(adapter, "tokenizer.json") or not any(_file(adapter, name) for name in PROCESSORS):
        return None
    check_processor_files(*split_revision(adapter))
    # From the folder or the cache: some families look into the configuration of a model, which an adapter lacks.
    found = [path for name in LIMITS if (path := _file(adapter, name))]
    return family.load_processor(str(found[0].parent))


def _with_template(processor: Any, adapter: str) -> Any:
    """The processor of the base with the chat template of the adapter, if that has one."""
    from escoita.models.processor_files import LIMITS
    from escoita.utils.untrusted import refuse_large, refuse_pointer

    path = _file(adapter, TEMPLATE)
    if path is None:
        return processor
    refuse_large(path, f"adapter {adapter}", LIMITS[TEMPLATE])
    refuse_pointer(path, f"adapter {adapter}")
    template = path.read_text("utf-8", "replace")
    if template == processor.chat_template:
        return processor
    other = copy.copy(processor)
    other.chat_template = template
    return other


def _check_tokens(own: Any, of_base: Any, adapter: str) -> None:
    known = of_base.get_vocab()
    others = sorted(token for token, index in own.get_vocab().items() if known.get(token) != index)
    if others:
        raise EscoitaError(
            f"adapter {adapter}: its tokenizer is not that of the base: {len(others):,} tokens differ, such as"
            f" {visible(repr(others[0]))[:100]}; name the base that it was trained on"
        )


def _alike(own: Any, of_base: Any) -> bool:
    """Whether two processors do the same; then there need not be two in memory."""

    def told(processor: Any) -> tuple[Any, ...]:
        backend = processor.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        special = processor.tokenizer.special_tokens_map
        return processor.chat_template, processor.to_json_string(), special, backend.to_str()

    return told(own) == told(of_base)


def _compare_with_base(family: "ChatFamily", own: Any, of_base: Any, prompt: Prompt, adapter: str) -> None:
    try:
        theirs, ours = family.render(of_base, prompt), family.render(own, prompt)
    except EscoitaError:  # said by whoever uses the template that fails
        return
    if theirs != ours:
        trained, written = _from_difference(ours, theirs)
        _say_once(
            f"{adapter}: its own chat template is used, which writes {trained}; that of the base writes {written}"
        )


@functools.cache
def _say_once(line: str) -> None:
    say(line)


def _from_difference(one: str, other: str) -> tuple[str, str]:
    """Two prompts as Python writes them; from shortly before the first difference, if they are long."""
    start = 0
    if max(len(one), len(other)) > SHOWN:
        same = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
        start = max(0, (same or min(len(one), len(other))) - SHOWN // 4)
    shown = [f"{'…' * bool(start)}{visible(repr(text[start : start + SHOWN]))}" for text in (one, other)]
    return shown[0], shown[1]
