"""Test the longest clip of each family, and callbacks for generated tokens."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from escoita.audio.loading import SAMPLING_RATE
from escoita.data.clips import check_clips
from escoita.data.rows import Utterance, Utterances
from escoita.errors import EscoitaError
from escoita.models import family_for_evaluation, family_of
from escoita.models.base import Family, watch_of_row
from escoita.models.phi4 import PLACES
from escoita.records.training import AdapterRecord, Prompt
from tests.models import bases
from tests.models.samples import write_ctc, write_whisper
from tests.samples import tone, write_clip


QUICKSTART = Path("quickstart")


def edited(folder: Path, **changes: dict[str, Any]) -> str:
    """Return a copy of a base with changed files: for each name without suffix, values at paths of keys."""
    for name, values in changes.items():
        path = folder / f"{name}.json"
        document = json.loads(path.read_text("utf-8"))
        for keys, value in values.items():
            *sections, last = keys.split(".")
            inner = document
            for section in sections:
                inner = inner[section]
            inner[last] = value
        path.write_text(json.dumps(document), "utf-8")
    return str(folder)


def longest(base: str) -> float:
    family: Family = family_for_evaluation(base)
    family.load_processor(base)
    return family.max_audio_seconds


def copied(base: Path, to: Path) -> Path:
    return Path(shutil.copytree(base, to))


@pytest.mark.parametrize("reduction, seconds", [(2, 10.0), (4, 20.0), (8, 40.0)])
def test_longest_clip_of_phi4(tmp_path: Path, reduction: int, seconds: float) -> None:
    base = edited(
        copied(QUICKSTART / "phi4", tmp_path / "phi4"),
        config={"audio_config.time_reduction": reduction},
        processor_config={"audio_processor.audio_compression_rate": reduction},
    )
    assert longest(base) == seconds
    family = family_of(base)
    processor = family.load_processor(base)
    exact = np.zeros(round(seconds * SAMPLING_RATE), np.float32)
    sizes = family.encode(processor, [exact, np.append(exact, np.zeros(2000, np.float32))], Prompt(user="Escoita."))
    first, second = sizes["audio_embed_sizes"].tolist()
    assert PLACES - 1 <= first <= PLACES < second


def test_longest_clip_of_phi4_in_the_published_layout(tmp_path: Path, phi4_base: Path) -> None:
    from tests.models.phi4_samples import write_published_layout

    base = Path(write_published_layout(tmp_path / "old", phi4_base))
    assert longest(str(base)) == 40.0
    changed = edited(base, config={"audio_processor.config.time_reduction": 4})
    assert longest(changed) == 20.0


@pytest.mark.parametrize("tokens, ms, seconds", [(750, 40, 30.0), (375, 40, 15.0), (1000, 40, 30.0), (750, 20, 15.0)])
def test_longest_clip_of_gemma4(tmp_path: Path, tokens: int, ms: int, seconds: float) -> None:
    base = copied(QUICKSTART / "gemma4", tmp_path / "gemma4")
    edited(base, processor_config={"audio_seq_length": tokens, "audio_ms_per_token": ms})
    assert longest(str(base)) == seconds


@pytest.mark.parametrize("tokens, seconds", [(188, 30.0), (100, 16.0)])
def test_longest_clip_of_gemma3n(tmp_path: Path, tokens: int, seconds: float) -> None:
    bases.write_gemma3n(tmp_path)
    edited(tmp_path, config={"audio_soft_tokens_per_image": tokens}, processor_config={"audio_seq_length": tokens})
    assert longest(str(tmp_path)) == seconds
    edited(tmp_path, processor_config={"audio_seq_length": tokens + 1})
    with pytest.raises(EscoitaError) as error:
        longest(str(tmp_path))
    assert error.value.path == str(tmp_path) and isinstance(error.value.__cause__, ValueError)


def whisper_files(folder: Path) -> tuple[Path, str]:
    """Return the file with the settings of the feature extractor, and their position in it."""
    alone = folder / "preprocessor_config.json"
    return (alone, "") if alone.is_file() else (folder / "processor_config.json", "feature_extractor.")


@pytest.mark.parametrize(
    "write, section",
    [(bases.write_qwen2_audio, "audio_config."), (bases.write_voxtral, "audio_config."), (write_whisper, "")],
)
def test_longest_clip_of_whisper_encoders(tmp_path: Path, write: Callable[[Path], Any], section: str) -> None:
    write(tmp_path)
    assert longest(str(tmp_path)) == 30.0
    path, where = whisper_files(tmp_path)
    halved = {f"{where}chunk_length": 15, f"{where}n_samples": 240_000, f"{where}nb_max_frames": 1500}
    edited(tmp_path, **{path.stem: halved})
    with pytest.raises(EscoitaError) as error:
        longest(str(tmp_path))
    assert error.value.path == str(tmp_path) and isinstance(error.value.__cause__, ValueError)
    edited(tmp_path, config={f"{section}max_source_positions": 750})
    assert longest(str(tmp_path)) == 15.0


@pytest.mark.parametrize("seconds", [20, 30])
def test_longest_clip_of_qwen3_asr(tmp_path: Path, seconds: int) -> None:
    bases.write_qwen3_asr(tmp_path)
    path, where = whisper_files(tmp_path)
    edited(tmp_path, **{path.stem: {f"{where}chunk_length": seconds, f"{where}n_samples": seconds * SAMPLING_RATE}})
    assert longest(str(tmp_path)) == seconds


def test_default_longest_clip(tmp_path: Path) -> None:
    bases.write_granite_speech(tmp_path / "granite")
    write_ctc(tmp_path / "ctc")
    assert longest(str(tmp_path / "granite")) == longest(str(tmp_path / "ctc")) == Family.max_audio_seconds


@pytest.mark.parametrize("tokens", [0, -750, "many", None])
def test_impossible_length_is_refused_in_one_line(tmp_path: Path, tokens: Any) -> None:
    base = edited(copied(QUICKSTART / "gemma4", tmp_path / "gemma4"), processor_config={"audio_seq_length": tokens})
    with pytest.raises(EscoitaError) as error:
        longest(base)
    assert error.value.path == base and "\n" not in str(error.value)


def test_longest_clip_is_stored_per_instance() -> None:
    assert [longest(str(QUICKSTART / name)) for name in ("phi4", "gemma4", "phi4")] == [20.0, 30.0, 20.0]
    assert Family.max_audio_seconds == 30.0


def test_clips_over_the_limit_of_the_base_are_rejected_row_by_row(tmp_path: Path) -> None:
    rows = [
        Utterance(
            id=str(index),
            audio=str(write_clip(tmp_path / f"{index}.wav", tone(seconds=seconds))),
            text="ola",
            language="gl",
            corpus="clips",
            source="m.jsonl",
            row=index,
        )
        for index, seconds in enumerate((25.0, 2.0, 25.0))
    ]
    usable, rejected = check_clips(Utterances.of(rows), longest(str(QUICKSTART / "phi4")))
    assert [clip.row for clip in usable] == [1]
    assert [each.row for each in rejected] == [0, 2]
    assert all("25.0 s" in each.reason and "20 s" in each.reason for each in rejected)


@pytest.mark.slow
def test_two_equal_clips_of_the_longest_length_pass_the_encoder_of_phi4() -> None:
    """With one frame more per row, the library's encoder fails on a batch."""
    base = str(QUICKSTART / "phi4")
    family = family_of(base)
    model, processor = family.load_model(base, dtype="float32"), family.load_processor(base)
    clip = tone(seconds=family.max_audio_seconds)
    batch = family.encode_with_targets(processor, [clip, clip], ["ola", "ola"], RECORD)
    with torch.no_grad():
        assert torch.isfinite(model(**batch).loss)


RECORD = AdapterRecord(language="gl", prompt=Prompt(user="Listen."), max_new_tokens=8)
CLIPS = [tone(300, 0.4), tone(500, 0.7), tone(700, 0.4)]


@pytest.fixture(scope="module", params=["quickstart/gemma4", "quickstart/phi4"])
def loaded(request: pytest.FixtureRequest) -> Any:
    family = family_of(request.param)
    model = family.load_model(request.param, dtype="float32").eval()
    model.generation_config.eos_token_id = [10**6]  # no row ends before the limit
    return family, model, family.load_processor(request.param)


def generated(loaded: Any, clips: list[np.ndarray], watch: Any = None) -> torch.Tensor:
    family, model, processor = loaded
    with torch.inference_mode():
        return family.generate(model, family.encode(processor, clips, RECORD.prompt), RECORD, watch)


def test_watch_gets_every_token(loaded: Any) -> None:
    positions: dict[tuple[int, int], int] = {}

    def watch(row: int, place: int, token: int) -> bool:
        positions[row, place] = token
        return True

    tokens = generated(loaded, CLIPS, watch)
    assert torch.equal(tokens, generated(loaded, CLIPS))
    assert positions == {
        (row, place): int(token) for row, line in enumerate(tokens) for place, token in enumerate(line)
    }


def test_watch_stops_one_row(loaded: Any) -> None:
    whole = generated(loaded, CLIPS)
    tokens = generated(loaded, CLIPS, lambda row, place, token: row != 1 or place < 2)
    assert torch.equal(tokens[[0, 2]], whole[[0, 2]])
    assert torch.equal(tokens[1, :3], whole[1, :3])
    assert len(set(tokens[1, 3:].tolist())) == 1  # padding


def test_watch_stops_a_batch(loaded: Any) -> None:
    assert generated(loaded, CLIPS, lambda row, place, token: False).shape == (3, 1)


def test_watch_of_row_keeps_the_row_number() -> None:
    assert watch_of_row(lambda *token: token == (4, 7, 99), 4)(0, 7, 99)
