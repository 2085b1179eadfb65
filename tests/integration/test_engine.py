"""Test that the serving engine transcribes concurrent requests like the Transcriber with the merged adapter."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record
from escoita.inference.serving import Engine
from escoita.inference.transcriber import Transcriber
from escoita.records.training import AdapterRecord, Prompt
from tests.adapter_samples import GEMMA4_LORA, PHI4_LORA, PHI4_MODULES, write_adapter
from tests.models.samples import write_whisper


CLIPS = 20


def clips(language: str) -> list[Path]:
    return sorted(Path(f"quickstart/corpus/{language}/test").glob("*.ogg"))[:CLIPS]


@pytest.mark.slow
def test_concurrent_requests_for_several_adapters(quickstart_run: Path, tmp_path: Path) -> None:
    trained = str(quickstart_run / "adapter")
    other = AdapterRecord(language="uz", prompt=Prompt(user="Write down what is said."), max_new_tokens=12)
    adapters = {
        "trained": trained,
        "other": write_adapter("quickstart/gemma4", tmp_path / "other", other, **GEMMA4_LORA),
    }
    assert len(set(compare("quickstart/gemma4", adapters, clips("uz")))) > CLIPS  # adapters differ


def test_full_modules_and_low_rank_adapters_together(tmp_path: Path) -> None:
    full = AdapterRecord(language="gl", prompt=Prompt(user="<|audio_1|> Escoita."), max_new_tokens=20)
    low = AdapterRecord(language="gl", prompt=Prompt(user="Transcribe."), max_new_tokens=10)
    base = "quickstart/phi4"
    adapters = {
        "full": write_adapter(base, tmp_path / "full", full, **PHI4_MODULES),
        "low": write_adapter(base, tmp_path / "low", low, seed=1, **PHI4_LORA),
    }
    assert len(set(compare(base, adapters, clips("gl")))) > CLIPS


def test_whisper_with_and_without_a_language_token(tmp_path: Path) -> None:
    base = write_whisper(tmp_path / "base", seconds=10, positions=48)
    record = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=12)
    layers: dict[str, Any] = {"target_modules": r".*(q|v)_proj"}
    adapters = {
        token: write_adapter(base, tmp_path / token, record.model_copy(update={"language_token": token}), **layers)
        for token in ("gl", "none")
    }
    assert len(set(compare(base, adapters, clips("gl")[:5]))) > 1


def compare(base: str, adapters: dict[str, str], files: list[Path]) -> list[str]:
    """
    Request all files at once from each adapter, and from the base with the prompt of each adapter.

    Returns:
        `list[str]`: The texts, which equal those of the Transcriber.
    """
    requests = [(file, adapter, prompt) for prompt in adapters for adapter in (prompt, None) for file in files]

    def text(engine: Engine, file: Path, adapter: str | None, prompt: str) -> str:
        texts = [partial.text for partial in engine.stream(file, adapter, prompt)]
        assert all(after.startswith(before) for before, after in zip(texts, texts[1:], strict=False))
        return texts[-1]

    with Engine.load(base, adapters, max_waiting=len(requests)) as engine, ThreadPoolExecutor(len(requests)) as pool:
        found = list(pool.map(lambda request: text(engine, *request), requests))
        single = [list(engine.stream_alone(file, next(iter(adapters))))[-1].text for file in files[:3]]
    transcribers: dict[tuple[str | None, str], Transcriber] = {}
    for name, source in adapters.items():
        transcribers[name, name] = Transcriber.load(base, source)
        transcribers[None, name] = Transcriber.load(base, None, adapter_record(source))
    expected = [transcribers[adapter, prompt].transcribe_file(file).text for file, adapter, prompt in requests]
    assert found == expected
    assert single == expected[: len(single)]
    return found


def test_adapters_for_different_precisions_are_refused(tmp_path: Path) -> None:
    records = {name: AdapterRecord(language="gl", prompt=Prompt(user="x"), load_in_4bit=name == "a") for name in "ab"}
    for name, record in records.items():
        (tmp_path / name).mkdir()
        record.write(tmp_path / name / "escoita.json")
    with pytest.raises(EscoitaError):
        Engine.load("quickstart/gemma4", {name: str(tmp_path / name) for name in records})


def test_an_incompatible_adapter_fails_only_its_requests(quickstart_run: Path, tmp_path: Path) -> None:
    generation_settings = adapter_record(str(quickstart_run / "adapter"))
    adapters = {
        "trained": str(quickstart_run / "adapter"),
        "phi4": write_adapter("quickstart/phi4", tmp_path / "phi4", generation_settings, **PHI4_MODULES),
    }
    (file, *_) = clips("uz")
    with Engine.load("quickstart/gemma4", adapters) as engine:
        with pytest.raises(EscoitaError):
            list(engine.stream(file, "phi4"))
        with pytest.raises(EscoitaError):
            engine.prepare("phi4")
        *_, last = engine.stream(file, "trained")
        assert last.transcript
