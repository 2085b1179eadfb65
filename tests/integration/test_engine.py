"""What the engine of the page hears is what the Transcriber hears with the adapter merged, for many at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.hub.files import adapter_record
from escoita.inference.serving import Engine
from escoita.inference.transcriber import Transcriber
from escoita.records.training import AdapterRecord, Prompt
from tests.adapter_samples import GEMMA4_LORA, PHI4_LORA, PHI4_MODULES, write_adapter


CLIPS = 20


def clips(language: str) -> list[Path]:
    return sorted(Path(f"quickstart/corpus/{language}/test").glob("*.ogg"))[:CLIPS]


@pytest.mark.slow
def test_visitors_of_several_adapters_hear_what_each_adapter_hears_alone(quickstart_run: Path, tmp_path: Path) -> None:
    trained = str(quickstart_run / "adapter")
    other = AdapterRecord(language="uz", prompt=Prompt(user="Write down what is said."), max_new_tokens=12)
    adapters = {
        "trained": trained,
        "other": write_adapter("quickstart/gemma4", tmp_path / "other", other, **GEMMA4_LORA),
    }
    compare("quickstart/gemma4", adapters, clips("uz"))


def test_modules_trained_whole_and_low_rank_ones_side_by_side(tmp_path: Path) -> None:
    whole = AdapterRecord(language="gl", prompt=Prompt(user="<|audio_1|> Escoita."), max_new_tokens=20)
    low = AdapterRecord(language="gl", prompt=Prompt(user="Transcribe."), max_new_tokens=10)
    base = "quickstart/phi4"
    adapters = {
        "whole": write_adapter(base, tmp_path / "whole", whole, **PHI4_MODULES),
        "low": write_adapter(base, tmp_path / "low", low, seed=1, **PHI4_LORA),
    }
    compare(base, adapters, clips("gl"))


def compare(base: str, adapters: dict[str, str], files: list[Path]) -> None:
    """All at once: each adapter, and the base told the prompt of each."""
    asked = [(file, adapter, beside) for beside in adapters for adapter in (beside, None) for file in files]

    def text(engine: Engine, file: Path, adapter: str | None, beside: str) -> str:
        shown = [partial.text for partial in engine.stream(file, adapter, beside)]
        assert all(after.startswith(before) for before, after in zip(shown, shown[1:], strict=False))
        return shown[-1]

    with Engine.load(base, adapters, most_waiting=len(asked)) as engine, ThreadPoolExecutor(len(asked)) as people:
        heard = list(people.map(lambda one: text(engine, *one), asked))
        alone = [list(engine.stream_alone(file, next(iter(adapters))))[-1].text for file in files[:3]]
    listeners: dict[tuple[str | None, str], Transcriber] = {}
    for name, source in adapters.items():
        listeners[name, name] = Transcriber.load(base, source)
        listeners[None, name] = Transcriber.load(base, None, adapter_record(source))
    expected = [listeners[adapter, beside].transcribe_file(file).text for file, adapter, beside in asked]
    assert heard == expected
    assert len(set(heard)) > len(files)  # they do not all say the same
    assert alone == expected[: len(alone)]


def test_adapters_for_different_precisions_are_refused(tmp_path: Path) -> None:
    records = {name: AdapterRecord(language="gl", prompt=Prompt(user="x"), load_in_4bit=name == "a") for name in "ab"}
    for name, record in records.items():
        (tmp_path / name).mkdir()
        record.write(tmp_path / name / "escoita.json")
    with pytest.raises(EscoitaError, match="^adapters: some were trained on a base in 4 bits and some not"):
        Engine.load("quickstart/gemma4", {name: str(tmp_path / name) for name in records})


def test_an_adapter_that_does_not_fit_is_told_to_who_asks_for_it(quickstart_run: Path, tmp_path: Path) -> None:
    generation_settings = adapter_record(str(quickstart_run / "adapter"))
    adapters = {
        "trained": str(quickstart_run / "adapter"),
        "phi4": write_adapter("quickstart/phi4", tmp_path / "phi4", generation_settings, **PHI4_MODULES),
    }
    (file, *_) = clips("uz")
    with Engine.load("quickstart/gemma4", adapters) as engine:
        with pytest.raises(EscoitaError, match="phi4: does not fit this base"):
            list(engine.stream(file, "phi4"))
        with pytest.raises(EscoitaError, match="phi4: does not fit this base"):
            engine.prepare("phi4")
        *_, heard = engine.stream(file, "trained")
        assert heard.transcript
