import shutil
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.records.training import AdapterRecord, Prompt
from escoita.serve.models import find_models, load_engine
from tests.adapter_samples import GEMMA4_LORA, write_adapter
from tests.length_model import clip
from tests.models.samples import write_whisper


BASE = "quickstart/gemma4"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> str:
    record = AdapterRecord(language="gl", prompt=Prompt(user="Listen."), max_new_tokens=5)
    return write_adapter(BASE, tmp_path_factory.mktemp("adapters") / "gl", record, **GEMMA4_LORA)


def test_a_run_brings_its_base_limits_and_name(quickstart_run: Path) -> None:
    models = find_models([str(quickstart_run)])
    assert models.adapters == {"quickstart-uzbek": str(quickstart_run / "adapter")}
    assert (models.base_name, models.languages()) == (BASE, {"quickstart-uzbek": "uz"})


def test_an_adapter_names_its_base(adapter: str) -> None:
    models = find_models([f"galician={adapter}"])
    assert models.adapters == {"galician": adapter}
    assert models.base_name == BASE
    assert find_models([adapter]).adapters == {"gl": adapter}  # without its folder


def test_an_adapter_without_a_record_needs_prompt_and_language(adapter: str, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(adapter, foreign)
    (foreign / "escoita.json").unlink()
    for given in ((None, None), ("gl", None), (None, "Listen.")):
        with pytest.raises(EscoitaError) as refused:
            find_models([str(foreign)], None, None, *given)
        assert refused.value.path == str(foreign)
    sources = [f"foreign={foreign}", f"known={adapter}"]
    models = find_models(sources, language="gl", prompt="Write.", system="You listen.")
    assert models.records["foreign"].prompt == Prompt(user="Write.", system="You listen.")
    assert models.records["known"].prompt == Prompt(user="Listen.")  # as in its training
    assert models.languages() == {"foreign": "gl", "known": "gl"}
    with load_engine(find_models(sources, language="gl", prompt="Listen.")) as engine:
        texts = []
        for name in ("foreign", "known"):
            *_, last = engine.stream(clip(16_000), name)
            assert last.transcript is not None
            texts.append(last.transcript.text)
    assert texts[0].startswith(texts[1][:5])  # the token limits differ


def test_several_models_of_one_base(quickstart_run: Path, adapter: str) -> None:
    models = find_models([str(quickstart_run), f"galician={adapter}"])
    assert list(models.adapters) == ["quickstart-uzbek", "galician"]


@pytest.mark.parametrize("models", [["a={0}", "a={0}"], ["{0}", "quickstart/phi4"], []])
def test_models_that_cannot_be_served_together_are_refused(models: list[str], adapter: str) -> None:
    with pytest.raises(EscoitaError):
        find_models([each.format(adapter) for each in models])


def test_a_base_alone_is_given_a_language_of_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with load_engine(find_models([write_whisper(tmp_path / "whisper")]), language="gl") as engine:
        known = [
            engine.submit(clip(16_000), language=each).transcriber.generation_settings.language
            for each in (None, "gl", "glg", "uz")
        ]
        assert known == ["gl", "gl", "gl", "uz"]
        *_, last = engine.submit(clip(16_000), language="uz").partials()
        assert last.transcript is not None


def test_an_adapter_transcribes_the_language_of_its_training(adapter: str) -> None:
    with load_engine(find_models([f"galician={adapter}"])) as engine:
        engine.submit(clip(16_000), "galician", language="gl").close()
        with pytest.raises(EscoitaError) as refused:
            engine.submit(clip(16_000), "galician", language="uz")
        assert (refused.value.key, refused.value.value) == ("language", "uz")
        *_, last = engine.stream(clip(16_000), "galician")  # the place of the refused request is free again
        assert last.transcript is not None
