"""Read the fields of a transcription request."""

from dataclasses import dataclass
from typing import Literal, get_args

from escoita.serve.errors import ApiError, invalid
from escoita.utils.languages import LanguageError, language_tag


ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
FORMATS: tuple[ResponseFormat, ...] = get_args(ResponseFormat)
# The formats that can be streamed, because events contain text only.
STREAMED = ("json", "text")
# The names under which clients send the granularities of timestamps.
GRANULARITIES = ("timestamp_granularities", "timestamp_granularities[]")
KNOWN = {"model", "language", "prompt", "response_format", "temperature", "stream", "chunking_strategy"}


@dataclass(frozen=True)
class Parameters:
    """
    Store the validated fields of a transcription request.

    Args:
        model (`str`): The name of a model.
        response_format (`str`): The format, one of [`FORMATS`].
        language (`str`, *optional*): The tag of the language of the recording.
        prompt (`str`): The prompt; empty if none is given.
        stream (`bool`): Whether the text is sent while it is generated.
        word_timestamps (`bool`, *optional*, defaults to `False`): Whether the words are returned with their times.
    """

    model: str
    response_format: ResponseFormat
    language: str | None
    prompt: str
    stream: bool
    word_timestamps: bool = False


def read_parameters(fields: dict[str, list[str]]) -> Parameters:
    """
    Validate the fields of a request.

    Args:
        fields (`dict[str, list[str]]`): The values of each field.

    Returns:
        [`Parameters`]: The validated fields.

    Raises:
        ApiError: A field is unknown, missing or given twice, or its value is invalid or not supported.
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
        raise invalid("Long recordings are always cut at silences: choose auto.", "chunking_strategy")
    granularities = {value for key in GRANULARITIES for value in fields.get(key, [])}
    if not granularities <= {"segment", "word"}:
        raise invalid("Choose segment, word, or both.", GRANULARITIES[0])
    if granularities and response_format != "verbose_json":
        raise invalid("Timestamps require the format verbose_json.", GRANULARITIES[0])
    language, prompt = _language(_value(fields, "language")), _value(fields, "prompt").strip()
    return Parameters(model, response_format, language, prompt, stream, "word" in granularities)


def _value(fields: dict[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]


def _flag(fields: dict[str, list[str]], name: str) -> bool:
    value = _value(fields, name).lower()
    if value not in ("", "true", "false", "1", "0"):
        raise invalid("Send true or false.", name)
    return value in ("true", "1")


def _language(value: str) -> str | None:
    try:
        return language_tag(value.strip()) if value.strip() else None
    except LanguageError as error:
        raise invalid("Send a language tag, such as gl or uz-Latn.", "language") from error


def _require_greedy(temperature: str) -> None:
    try:
        greedy = not temperature or float(temperature) == 0
    except ValueError:
        greedy = False
    if not greedy:
        raise invalid("Decoding is greedy: leave temperature out, or send 0.", "temperature")


def unknown_model(model: str) -> ApiError:
    """Return the error for a model that is not served."""
    return ApiError(
        404,
        f"The model {model[:200]!r} is not served here; GET /v1/models lists the models.",
        "model_not_found",
        "model",
    )
