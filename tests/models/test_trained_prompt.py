"""Test the processor of an adapter, and the comparison of its prompt."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import EscoitaError
from escoita.inference.transcriber import Transcriber
from escoita.models.errors import PromptMismatchError
from escoita.models.trained_prompt import check_prompt, trained_processor
from escoita.records.training import AdapterRecord, Prompt
from escoita.utils import processes
from tests.models.bases import chat_family_of


BASE = "quickstart/gemma4"
FAMILY = chat_family_of(BASE)
PROMPT = Prompt(system="You are an assistant.", user="Please transcribe this audio.")
SETTINGS = AdapterRecord(language="uz", prompt=PROMPT)
RENDERED = (
    "<bos><|turn>system\nYou are an assistant.<turn|>\n<|turn>user\n<|audio|>Please transcribe this audio.<turn|>\n"
    "<|turn>model\n"
)


@pytest.fixture(scope="module")
def processor() -> Any:
    return FAMILY.load_processor(BASE)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the printed lines."""
    lines: list[str] = []
    processes.say_once.cache_clear()
    monkeypatch.setattr(processes, "say", lines.append)
    return lines


def adapter(folder: Path, processor: Any, rendered: str | None = RENDERED, **changed: str) -> Path:
    """Return the files next to the weights of an adapter, with changed texts in its template."""
    FAMILY.save_processor(processor, folder)
    AdapterRecord(language="uz", prompt=PROMPT, rendered_prompt=rendered).write(folder / "escoita.json")
    template = folder / "chat_template.jinja"
    text = template.read_text("utf-8")
    for old, new in changed.items():
        assert old in text
        text = text.replace(old, new)
    template.write_text(text, "utf-8")
    return folder


def test_equivalent_processor_is_not_loaded_twice(tmp_path: Path, processor: Any, messages: list[str]) -> None:
    assert trained_processor(FAMILY, processor, str(adapter(tmp_path, processor)), SETTINGS) is processor
    assert messages == []


def test_template_of_the_adapter_is_used_with_one_message(tmp_path: Path, processor: Any, messages: list[str]) -> None:
    ours = RENDERED.replace("model", "assistant")
    folder = adapter(tmp_path, processor, ours, model="assistant")
    for _ in range(2):
        own = trained_processor(FAMILY, processor, str(folder), SETTINGS)
        assert own is not processor and FAMILY.render(own, PROMPT) == ours
    (line,) = messages
    assert repr(ours) in line and repr(RENDERED) in line and "\n" not in line
    assert FAMILY.render(processor, PROMPT) == RENDERED


def test_settings_of_the_feature_extractor_come_from_the_adapter(tmp_path: Path, processor: Any) -> None:
    folder = adapter(tmp_path, processor)
    config = json.loads((folder / "processor_config.json").read_text("utf-8"))
    config["audio_seq_length"] = 123
    (folder / "processor_config.json").write_text(json.dumps(config))
    assert trained_processor(FAMILY, processor, str(folder), SETTINGS).audio_seq_length == 123


def test_other_prompt_than_the_trained_one_is_refused(tmp_path: Path, processor: Any) -> None:
    folder = adapter(tmp_path, processor, model="assistant")
    with pytest.raises(PromptMismatchError) as error:
        trained_processor(FAMILY, processor, str(folder), SETTINGS)
    assert error.value.path == str(folder) and "\n" not in str(error.value)
    assert error.value.trained == repr(RENDERED)
    assert error.value.written == repr(RENDERED.replace("model", "assistant"))


def test_long_prompts_are_shortened() -> None:
    record = AdapterRecord(language="uz", prompt=PROMPT, rendered_prompt=RENDERED.replace("You", "A" * 5_000))
    with pytest.raises(PromptMismatchError) as error:
        check_prompt("user/name", FAMILY, FAMILY.load_processor(BASE), record)
    assert len(str(error.value)) < 1_000 and "AAAA" in error.value.trained and "You are" in error.value.written


@pytest.mark.parametrize("rendered", [None, RENDERED])
def test_adapter_without_processor_files_uses_the_base(tmp_path: Path, processor: Any, rendered: str | None) -> None:
    AdapterRecord(language="uz", prompt=PROMPT, rendered_prompt=rendered).write(tmp_path / "escoita.json")
    assert trained_processor(FAMILY, processor, str(tmp_path), SETTINGS) is processor


def test_adapter_without_a_record_provides_only_the_template(
    tmp_path: Path, processor: Any, messages: list[str]
) -> None:
    folder = adapter(tmp_path, processor, model="assistant")
    (folder / "escoita.json").unlink()
    (folder / "tokenizer.json").write_text("nothing that can be read")
    own = trained_processor(FAMILY, processor, str(folder), SETTINGS)
    assert own.tokenizer is processor.tokenizer
    assert FAMILY.render(own, PROMPT) == RENDERED.replace("model", "assistant") and len(messages) == 1


def test_tokenizer_of_another_base_is_refused(tmp_path: Path, processor: Any) -> None:
    folder = adapter(tmp_path, processor)
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(EscoitaError) as error:
        trained_processor(FAMILY, processor, str(folder), SETTINGS)
    assert error.value.path == f"{folder}/tokenizer.json"


@pytest.mark.parametrize(
    "name, content",
    [
        ("tokenizer.json", b"{}"),
        ("chat_template.jinja", b"{{ " + b"x" * 2_000_000),
        ("chat_template.jinja", b"{% for i in x %}"),
        ("processor_config.json", b"[1"),
    ],
)
def test_invalid_file_of_an_adapter_is_refused_in_one_line(
    tmp_path: Path, processor: Any, name: str, content: bytes
) -> None:
    folder = adapter(tmp_path, processor)
    (folder / name).write_bytes(content)
    with pytest.raises(EscoitaError) as error:
        trained_processor(FAMILY, processor, str(folder), SETTINGS)
    assert "\n" not in str(error.value)


def test_transcriber_uses_the_processor_of_the_adapter(tmp_path: Path, processor: Any) -> None:
    """The page uses one base with several adapters; the base keeps its own processor."""
    folder = adapter(tmp_path, processor, None, model="assistant")
    record = AdapterRecord.read(folder / "escoita.json")
    base = Transcriber(FAMILY, FAMILY.load_model(BASE), processor, record)
    of_adapter = base.with_settings(record, str(folder))
    assert FAMILY.render(of_adapter.processor, PROMPT) == FAMILY.render(of_adapter.encoder, PROMPT)
    assert FAMILY.render(of_adapter.encoder, PROMPT).endswith("<|turn>assistant\n")
    assert base.processor is processor and FAMILY.render(base.encoder, PROMPT) == RENDERED


def test_changed_template_of_a_merged_model_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(BASE, tmp_path / "merged")
    AdapterRecord(language="uz", prompt=PROMPT, rendered_prompt=RENDERED).write(folder / "escoita.json")
    assert Transcriber.load(str(folder)).generation_settings.rendered_prompt == RENDERED
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text("utf-8").replace("model", "assistant"), "utf-8")
    with pytest.raises(PromptMismatchError) as error:
        Transcriber.load(str(folder))
    assert str(folder) in str(error.value.path)
