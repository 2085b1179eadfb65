"""
Chat templates of bases: rendered once for each template and prompt.

A template is code of whoever published the base. Transformers' sandbox keeps it from the objects of Python, but not
from loops that never end and texts larger than the memory. A template that is not in [`KNOWN_TEMPLATES`] is therefore
rendered in a process of its own, with limits.
"""

import json
from functools import lru_cache
from hashlib import sha256
from typing import Any

from escoita.errors import EscoitaError
from escoita.models.known_templates import KNOWN_TEMPLATES
from escoita.models.template_process import render
from escoita.utils.sandbox import limited


# The longest template that TRL ships has 20,000 characters.
LONGEST_TEMPLATE = 200_000
# The start of Python and the imports take a second.
MOST_SECONDS = 10
MOST_MEMORY_BYTES = 1 << 30
WHAT = "the chat template of the base"


def rendered(processor: Any, messages: list[dict[str, Any]]) -> str:
    """
    Renders messages with the template of a processor.

    Args:
        processor: With `chat_template` and `tokenizer`.
        messages (`list[dict]`): The conversation.

    Returns:
        `str`: The text, as `processor.apply_chat_template` gives it.

    Raises:
        EscoitaError: There is no template, or it fails or does not end within the limits.
    """
    template = processor.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise EscoitaError("the base has no chat template; take its variant for instructions, mostly called -it")
    if len(template) > LONGEST_TEMPLATE:
        raise EscoitaError(f"{WHAT} has {len(template):,} characters; at most {LONGEST_TEMPLATE:,} are accepted")
    context = json.dumps([messages, processor.tokenizer.special_tokens_map])
    text, refusal = _outcome(template, context)
    if text is None:
        raise EscoitaError(str(refusal))
    return text


@lru_cache(maxsize=256)
def _outcome(template: str, context: str) -> tuple[str | None, str | None]:
    """The text, or why there is none; kept, as a refusal may take seconds too."""
    messages, special_tokens = json.loads(context)
    request = {"template": template, "messages": messages, "special_tokens": special_tokens}
    try:
        if digest(template) in KNOWN_TEMPLATES:
            return render(**request), None
        return limited("escoita.models.template_process", request, WHAT, MOST_SECONDS, MOST_MEMORY_BYTES), None
    except EscoitaError as error:
        reason = str(error)
        return None, reason if reason.startswith(WHAT) else f"{WHAT}: {reason}"


def digest(template: str) -> str:
    """SHA-256 of a template's source, without the line end that files of templates have and configurations do not."""
    return sha256(template.rstrip("\n").encode()).hexdigest()
