"""Load the processor that an adapter was trained with, and compare the prompt that it writes."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record, file_if_any, split_revision
from escoita.models.errors import PromptMismatchError
from escoita.records.training import AdapterRecord
from escoita.utils.formatting import visible
from escoita.utils.processes import say_once


if TYPE_CHECKING:
    from escoita.models.base import Family
    from escoita.models.trainable import TrainableFamily

TEMPLATE = "chat_template.jinja"
# A processor has at least one of these files.
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
SHOWN = 300


def trained_processor(family: "Family", processor: Any, adapter: str, settings: AdapterRecord) -> Any:
    """
    Load the processor that an adapter was trained with.

    escoita saves it next to the weights. If an adapter was trained with another tool, its processor may be incomplete,
    and only its chat template is used.

    Args:
        family ([`~escoita.models.base.Family`]): The family of the base.
        processor (`ProcessorMixin`): The processor of the base.
        adapter (`str`): A folder, or a repository on the Hub.
        settings ([`AdapterRecord`]): The generation settings whose prompt is compared between base and adapter if the
            adapter has no record.

    Returns:
        `ProcessorMixin`: The processor of the adapter; the processor of the base if the adapter has none, or an
        equivalent one.

    Raises:
        EscoitaError: A file cannot be used, or the tokenizer differs from that of the base.
        PromptMismatchError: The processor writes another prompt than the prompt of the training.
    """
    from escoita.models.trainable import TrainableFamily

    if not isinstance(family, TrainableFamily):
        return processor
    if family.own_vocabulary:
        return _with_own_vocabulary(family, processor, adapter)
    record = adapter_record(adapter) if _file(adapter, "escoita.json") else None
    own = _saved_processor(family, adapter) if record else None
    if own is not None:
        _check_tokens(own.tokenizer, processor.tokenizer, adapter)
        own = processor if _is_equivalent(own, processor) else own
    else:
        own = _with_template(processor, adapter)
    if record is not None:
        check_prompt(adapter, family, own, record)
        settings = record
    if own is not processor:
        _compare_with_base(family, own, processor, settings, adapter)
    return own


def check_prompt(source: str, family: "Family", processor: Any, record: AdapterRecord) -> None:
    """
    Compare the prompt of the training with the prompt that a processor writes now.

    Args:
        source (`str`): The adapter or merged model, for errors.
        family ([`~escoita.models.base.Family`]): The family of the base.
        processor (`ProcessorMixin`): The processor that will be used.
        record ([`AdapterRecord`]): The record of the adapter. Without the rendered prompt, nothing is compared.

    Raises:
        PromptMismatchError: The prompts differ.
    """
    from escoita.models.trainable import TrainableFamily

    if record.rendered_prompt is None or not isinstance(family, TrainableFamily):
        return
    now = family.rendered_prompt(processor, record)
    if now != record.rendered_prompt:
        trained, written = _from_difference(record.rendered_prompt, now)
        raise PromptMismatchError(path=source, trained=trained, written=written)


def _with_own_vocabulary(family: "TrainableFamily", processor: Any, adapter: str) -> Any:
    """Return the processor of the base with the vocabulary of the adapter, if the adapter has one."""
    from escoita.models.ctc_vocabulary import VOCABULARY, read_vocabulary

    path = _file(adapter, VOCABULARY)
    return processor if path is None else family.with_vocabulary(processor, read_vocabulary(path, adapter))


def _file(adapter: str, name: str) -> Path | None:
    """Return a file of the adapter, or `None` if it is missing, or not in the cache and the Hub cannot be reached."""
    try:
        return file_if_any(adapter, name)
    except EscoitaError:
        return None


def _saved_processor(family: "TrainableFamily", adapter: str) -> Any:
    """Return the processor that was saved with the adapter, or `None`."""
    from escoita.models.processor_files import LIMITS, check_processor_files

    if not _file(adapter, "tokenizer.json") or not any(_file(adapter, name) for name in PROCESSORS):
        return None
    check_processor_files(*split_revision(adapter))
    # The local folder is used, because some families read the configuration of a model, which adapters do not have.
    found = [path for name in LIMITS if (path := _file(adapter, name))]
    return family.load_processor(str(found[0].parent))


def _with_template(processor: Any, adapter: str) -> Any:
    """Return the processor of the base with the chat template of the adapter, if the adapter has one."""
    from escoita.models.processor_files import LIMITS
    from escoita.utils.untrusted import refuse_large, refuse_pointer

    path = _file(adapter, TEMPLATE)
    if path is None:
        return processor
    refuse_large(path, adapter, LIMITS[TEMPLATE])
    refuse_pointer(path, adapter)
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
        problem = f"differs from the tokenizer of the base in {len(others):,} tokens, such as {others[0]!r:.100}"
        hint = "use the base that the adapter was trained on"
        raise EscoitaError(problem, path=f"{adapter}/tokenizer.json", hint=hint)


def _is_equivalent(own: Any, of_base: Any) -> bool:
    """Return whether two processors have the same settings, so that only one is kept in memory."""

    def settings(processor: Any) -> tuple[Any, ...]:
        backend = processor.tokenizer.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        special = processor.tokenizer.special_tokens_map
        return processor.chat_template, processor.to_json_string(), special, backend.to_str()

    return settings(own) == settings(of_base)


def _compare_with_base(
    family: "TrainableFamily", own: Any, of_base: Any, settings: AdapterRecord, adapter: str
) -> None:
    try:
        base_prompt, adapter_prompt = (family.rendered_prompt(each, settings) for each in (of_base, own))
    except EscoitaError:  # reported when the failing template is used
        return
    if base_prompt != adapter_prompt:
        trained, written = _from_difference(adapter_prompt, base_prompt)
        say_once(
            f"{adapter}: using its own chat template, which writes {trained}; the template of the base writes"
            f" {written}"
        )


def _from_difference(one: str, other: str) -> tuple[str, str]:
    """Return two prompts as Python literals, shortened to the context of the first difference if they are long."""
    start = 0
    if max(len(one), len(other)) > SHOWN:
        same = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
        start = max(0, (same or min(len(one), len(other))) - SHOWN // 4)
    shown = [f"{'…' * bool(start)}{visible(repr(text[start : start + SHOWN]))}" for text in (one, other)]
    return shown[0], shown[1]
