"""The rendering of a chat template, by the sandbox of Transformers; a process of its own runs it for unknown ones."""

from typing import Any

from escoita.errors import EscoitaError
from escoita.utils.formatting import visible


# A prompt, with everything that a template writes around it.
LONGEST_PROMPT = 200_000


def render(template: str, messages: list[dict[str, Any]], special_tokens: dict[str, str]) -> str:
    """
    Renders a template as the `apply_chat_template` of a processor does.

    Args:
        template (`str`): Jinja source.
        messages (`list[dict]`): The conversation.
        special_tokens (`dict[str, str]`): The tokenizer's, by the names under which templates use them.

    Returns:
        `str`: The text, up to where the transcript begins.

    Raises:
        EscoitaError: The template fails, or refuses the messages, or writes too much.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        (rendered,), _ = render_jinja_template(
            conversations=[messages], chat_template=template, add_generation_prompt=True, **special_tokens
        )
    except MemoryError:
        raise
    except Exception as error:  # a template can make any of Python's operators fail
        reason = visible(str(error))[:200]
        raise EscoitaError(f"fails on this prompt ({type(error).__name__}: {reason})") from error
    if len(rendered) > LONGEST_PROMPT:
        raise EscoitaError(f"writes {len(rendered):,} characters; at most {LONGEST_PROMPT:,} are accepted")
    return rendered


def respond(request: dict[str, Any]) -> str:
    """Renders twice, in order to refuse a template whose text differs from call to call."""
    first, second = (render(**request) for _ in range(2))
    if first != second:
        raise EscoitaError("writes another text each time")
    return first
