"""Read the fields of a transcription request."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from escoita.serve.errors import ApiError, invalid


ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
FORMATS: tuple[ResponseFormat, ...] = get_args(ResponseFormat)
# Events carry text alone.
STREAMED = ("json", "text")
# Fields under the names that clients send.
GRANULARITIES = ("timestamp_granularities", "timestamp_granularities[]")
KNOWN = {"model", "language", "prompt", "response_format", "temperature", "stream", "chunking_strategy"}


@dataclass(frozen=True)
class Parameters:
    """
    Hold the fields of a transcription request, checked.

    Args:
        model (`str`): The name of a model.
        response_format (`str`): One of [`FORMATS`].
        language (`str`, *optional*): The language of the recording, an ISO 639 code.
        prompt (`str`): The prompt; empty if none is given.
        stream (`bool`): Whether the text is sent while it grows.
    """

    model: str
    response_format: ResponseFormat
    language: str | None
    prompt: str
    stream: bool


def read_parameters(fields: dict[str, list[str]]) -> Parameters:
    """
    Check the fields of a request.

    Args:
        fields (`dict[str, list[str]]`): The values of each field.

    Raises:
        ApiError: A field is unknown, missing, given twice, or has a value that has no effect here.
    """
    for name in fields:
        if name not in KNOWN and name not in GRANULARITIES:
            raise invalid(f"Unknown parameter: {name[:100]!r}.", name[:100], "unknown_parameter")
        if name in KNOWN and len(fields[name]) > 1:
            raise invalid("Give one value.", name)
    model = _value(fields, "model")
    if not model:
        raise invalid("Name a model; GET /v1/models lists them.", "model", "missing_required_parameter")
    name = _value(fields, "response_format") or "json"
    response_format = next((each for each in FORMATS if each == name), None)
    if response_format is None:
        raise invalid(f"Choose one of {', '.join(FORMATS)}.", "response_format")
    stream = _flag(fields, "stream")
    if stream and response_format not in STREAMED:
        raise invalid(f"With stream=true, choose one of {', '.join(STREAMED)}.", "response_format")
    _require_greedy(_value(fields, "temperature"))
    if _value(fields, "chunking_strategy") not in ("", "auto"):
        raise invalid("Long recordings are always cut where they are quiet: choose auto.", "chunking_strategy")
    for granularity in (value for key in GRANULARITIES for value in fields.get(key, [])):
        if granularity != "segment":
            raise invalid("Only segments have timestamps: choose segment.", GRANULARITIES[0])
        if response_format != "verbose_json":
            raise invalid("Timestamps are in the format verbose_json.", GRANULARITIES[0])
    language = _language(_value(fields, "language"))
    return Parameters(model, response_format, language, _value(fields, "prompt").strip(), stream)


def _value(fields: dict[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]


def _flag(fields: dict[str, list[str]], name: str) -> bool:
    value = _value(fields, name).lower()
    if value not in ("", "true", "false", "1", "0"):
        raise invalid("Write true or false.", name)
    return value in ("true", "1")


def _language(value: str) -> str | None:
    code = re.split("[-_]", value.strip().lower(), maxsplit=1)[0]
    if code and not re.fullmatch("[a-z]{2,3}", code):
        raise invalid("Write an ISO 639 code, such as gl.", "language")
    return code or None


def _require_greedy(temperature: str) -> None:
    try:
        greedy = not temperature or float(temperature) == 0
    except ValueError:
        greedy = False
    if not greedy:
        raise invalid("Decoding is greedy here: leave temperature out, or send 0.", "temperature")


def unknown_model(model: str) -> ApiError:
    """Return the error for a model that is not served."""
    return ApiError(
        404,
        f"The model {model[:200]!r} is not served here; GET /v1/models lists those that are.",
        "model_not_found",
        "model",
    )
