import pytest

from escoita.serve.errors import ApiError
from escoita.serve.parameters import Parameters, read_parameters


def read(**fields: str) -> Parameters:
    return read_parameters({name: [value] for name, value in ({"model": "m"} | fields).items()})


def test_only_the_model_must_be_named() -> None:
    assert read() == Parameters("m", "json", None, "", False)
    assert read(response_format="", temperature="", language="", prompt=" ") == read()


@pytest.mark.parametrize("temperature", ["0", "0.0", "0e1"])
def test_greedy_decoding_may_be_requested(temperature: str) -> None:
    assert read(temperature=temperature) == read()


@pytest.mark.parametrize(("given", "code"), [("uz", "uz"), ("UZ", "uz"), ("uz-UZ", "uz-UZ"), ("uz_latn", "uz-Latn")])
def test_languages_are_codes(given: str, code: str) -> None:
    assert read(language=given).language == code


def test_streams_and_timestamps() -> None:
    assert read(stream="true").stream
    assert not read(stream="false").stream
    for name in ("timestamp_granularities", "timestamp_granularities[]"):
        assert not read(response_format="verbose_json", **{name: "segment"}).word_timestamps
        assert read(response_format="verbose_json", **{name: "word"}).word_timestamps


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"temperature": "0.2"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"stream": "maybe"}, "stream"),
        ({"stream": "true", "response_format": "srt"}, "response_format"),
        ({"timestamp_granularities[]": "letter", "response_format": "verbose_json"}, "timestamp_granularities"),
        ({"timestamp_granularities[]": "word", "response_format": "srt"}, "timestamp_granularities"),
        ({"timestamp_granularities[]": "segment"}, "timestamp_granularities"),
        ({"language": "Uzbek"}, "language"),
        ({"chunking_strategy": "server_vad"}, "chunking_strategy"),
        ({"include[]": "logprobs"}, "include[]"),
        ({"seed": "1"}, "seed"),
    ],
)
def test_parameters_without_effect_are_refused(fields: dict[str, str], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        read(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_a_field_is_given_once() -> None:
    with pytest.raises(ApiError) as refused:
        read_parameters({"model": ["a", "b"]})
    assert refused.value.param == "model"
