"""Render a chat template with the Jinja sandbox of Transformers; a separate process runs it for unknown templates."""

from typing import Any

from escoita.errors import EscoitaError
from escoita.utils.formatting import visible


# The limit of characters of a prompt, including the text of the template.
LONGEST_PROMPT = 200_000


def render(template: str, messages: list[dict[str, Any]], special_tokens: dict[str, str]) -> str:
    """
    Render a template like the `apply_chat_template` of a processor.

    Args:
        template (`str`): The Jinja source.
        messages (`list[dict]`): The conversation.
        special_tokens (`dict[str, str]`): The special tokens, by their names in templates.

    Returns:
        `str`: The text, up to the start of the transcript.

    Raises:
        EscoitaError: The template fails, refuses the messages, or writes too many characters.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        (rendered,), _ = render_jinja_template(
            conversations=[messages], chat_template=template, add_generation_prompt=True, **special_tokens
        )
    except MemoryError:
        raise
    except Exception as error:  # a template can cause any exception
        reason = visible(str(error))[:200]
        raise EscoitaError(f"fails on this prompt ({type(error).__name__}: {reason})") from error
    if len(rendered) > LONGEST_PROMPT:
        raise EscoitaError(f"writes {len(rendered):,} characters; at most {LONGEST_PROMPT:,} are accepted")
    return rendered


def respond(request: dict[str, Any]) -> str:
    """Render a template twice, and refuse a template whose text differs between calls."""
    first, second = (render(**request) for _ in range(2))
    if first != second:
        raise EscoitaError("writes different texts for the same messages")
    return first
