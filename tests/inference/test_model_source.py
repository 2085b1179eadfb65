import json
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.inference.model_source import ModelSource, adapter_settings, find_model
from escoita.records.training import AdapterRecord, Prompt
from tests.models.samples import write_whisper


STORED = AdapterRecord(language="uz", prompt=Prompt(user="Please.", system="You listen."), max_new_tokens=99)


def write_adapter(folder: Path, record: AdapterRecord | None = STORED, base: object = "quickstart/gemma4") -> str:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}), "utf-8")
    if record:
        record.write(folder / "escoita.json")
    return str(folder)


def test_an_adapter_names_its_base_and_its_prompt(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    assert find_model(adapter) == ModelSource("quickstart/gemma4", adapter, STORED)
    assert find_model(adapter, base="other").base == "other"


def test_a_run_has_an_adapter_and_a_base(quickstart_run: Path) -> None:
    found = find_model(str(quickstart_run))
    assert Path(found.base) == Path("quickstart/gemma4") and found.adapter == str(quickstart_run / "adapter")


def test_options_replace_the_settings_of_an_adapter(tmp_path: Path) -> None:
    settings = adapter_settings(write_adapter(tmp_path / "adapter"), "kaa", "Listen.", "")
    assert settings == STORED.model_copy(update={"language": "kaa", "prompt": Prompt(user="Listen.")})


def test_any_adapter_can_be_used_if_prompt_and_language_are_given(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", record=None)
    assert adapter_settings(adapter, "gl", "Listen.") == AdapterRecord(language="gl", prompt=Prompt(user="Listen."))
    for language, prompt in (("gl", None), (None, "Listen."), (None, None)):
        with pytest.raises(EscoitaError) as refusal:
            adapter_settings(adapter, language, prompt)
        hint = refusal.value.hint or ""
        assert refusal.value.path == adapter
        assert [option in hint for option in ("--language", "--prompt")] == [language is None, prompt is None]


@pytest.mark.parametrize("base", [None, "", 7])
def test_an_adapter_without_a_base_is_refused(tmp_path: Path, base: object) -> None:
    adapter = write_adapter(tmp_path / "adapter", base=base)
    with pytest.raises(EscoitaError) as refusal:
        find_model(adapter)
    assert refusal.value.path == adapter


def test_a_chat_model_needs_a_prompt() -> None:
    with pytest.raises(EscoitaError) as refusal:
        find_model("quickstart/gemma4")
    assert refusal.value.path == "quickstart/gemma4"
    found = find_model("quickstart/gemma4", language="uz", prompt="Listen.")
    assert found == ModelSource(
        "quickstart/gemma4", settings=AdapterRecord(language="uz", prompt=Prompt(user="Listen."))
    )


def test_whisper_accepts_a_language_and_no_prompt(tmp_path: Path) -> None:
    model = write_whisper(tmp_path / "whisper")
    found = find_model(model, language="gl")
    assert found.own_limit and found.settings is not None and found.settings.language == "gl"
    assert (detected := find_model(model).settings) is not None and detected.language == ""
    with pytest.raises(EscoitaError) as refusal:
        find_model(model, prompt="Listen.")
    assert refusal.value.path == model
    with pytest.raises(EscoitaError) as refusal:
        find_model(model, base="quickstart/gemma4")
    assert refusal.value.path == model


def test_a_language_is_a_code(tmp_path: Path) -> None:
    with pytest.raises(EscoitaError) as refusal:
        adapter_settings(write_adapter(tmp_path / "adapter"), "Galician")
    assert (refusal.value.key, refusal.value.value) == ("--language", "Galician")


def test_a_missing_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(EscoitaError) as refusal:
        find_model(str(tmp_path / "nowhere"))
    assert refusal.value.path == str(tmp_path / "nowhere")
