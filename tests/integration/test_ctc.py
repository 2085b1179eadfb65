"""Train, evaluate, publish, verify, merge and serve adapters of tiny CTC models that learn letters as tones."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModel

from escoita.audio.loading import read_audio
from escoita.cards.build import write_card
from escoita.errors import EscoitaError
from escoita.evaluation.evaluate import evaluate_run
from escoita.inference.serving import Engine
from escoita.inference.subtitles import transcript_words
from escoita.inference.transcriber import Transcriber
from escoita.models import family_of
from escoita.models.families import BY_MODEL_TYPE
from escoita.recipe.schema import Recipe
from escoita.records.training import AdapterRecord
from escoita.run_directory import RunDirectory
from escoita.training.merge import merge_run
from escoita.training.preflight.report import examine
from escoita.training.sft import train
from tests.hub_double import serve
from tests.integration.ctc_corpus import write_corpus
from tests.integration.recognizers import (
    TWO_STEPS,
    Command,
    Make,
    check_equal_losses,
    make_recipe,
    output_of_snippet,
    publish_and_verify,
)
from tests.models.ctc_bases import BASES
from tests.samples import write_manifest


TOWERS = {"trainable": {"audio": "some", "head": "some"}}
ENCODERS = {"wav2vec2": "wav2vec2", "mms": "wav2vec2", "hubert": "hubert", "wav2vec2-bert": "wav2vec2_bert"}


def modules(name: str) -> dict[str, Any]:
    parts = [f"{ENCODERS[name]}.{part}" for part in ("encoder", "feature_projection")]
    return {"kind": "modules", "modules": parts} | TOWERS


def lora(name: str) -> dict[str, Any]:
    return {"r": 8, "target_modules": BY_MODEL_TYPE[name].target_modules} | TOWERS


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("letters")
    sizes = {"train": 96, "validation": 12, "test": 12}
    return {
        split: [{"name": "letters", "path": str(write_corpus(folder / split, rows, seed))}]
        for seed, (split, rows) in enumerate(sizes.items())
    }


@pytest.fixture
def make(corpora: dict[str, Any], tmp_path: Path) -> Make:
    """Return a function that makes a recipe with a new base and run directory."""

    def recipe(name: str, training: dict[str, Any], method: dict[str, Any], **changes: Any) -> Recipe:
        base = tmp_path / name
        if not base.exists():
            base.mkdir()
            BASES[name](base)
        number = len(list(tmp_path.glob("run*")))
        (tmp_path / f"run{number}").mkdir()
        run_dir = tmp_path / f"run{number}" / "letters"
        return make_recipe(
            "letters", str(base), **{"corpora": corpora} | changes, training={"learning_rate": 5e-3} | training,
            method=method, run_dir=run_dir,
        )  # fmt: skip

    return recipe


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-bert"])
def test_wer_falls_and_the_adapter_is_published_and_verified(
    make: Make, name: str, command: Command, tmp_path: Path
) -> None:
    training = {"max_steps": 240, "eval_strategy": "steps", "eval_steps": 60, "save_steps": 60, "warmup_steps": 4}
    recipe = make(name, training, modules(name), hub={"publish_base_as": "tiny-ctc"})
    run = RunDirectory(recipe.run_path)
    assert not [finding for finding in examine(recipe) if finding.mark == "refusal"]
    record = train(recipe)
    assert record is not None and not record.base_transcribes
    rates = [point.wer for point in record.validation if point.wer is not None]
    assert rates[0] >= 1 and min(rates) <= 0.6

    result = evaluate_run(recipe.run_path)
    (adapter,) = result.corpora[0].systems  # the base has no head
    assert adapter.normalized.wer <= 0.6
    card = write_card(recipe.run_path).read_text("utf-8")
    assert BY_MODEL_TYPE[name].architecture in card and "a CTC model" in card

    clip = recipe.corpora.test[0].path.replace("rows.jsonl", "0.wav")
    transcript = Transcriber.load(recipe.base, str(run.adapter)).transcribe_file(clip)
    merge_run(recipe.run_path, tmp_path / "merged")
    assert Transcriber.load(str(tmp_path / "merged")).transcribe_file(clip).text == transcript.text
    with Engine.load(recipe.base, {"letters": str(run.adapter)}) as engine:
        *_, last = engine.stream(clip, "letters")
        with pytest.raises(EscoitaError):
            next(engine.stream(clip))
    assert last.transcript is not None and last.transcript.segments == transcript.segments

    # Each word begins 240 ms after the end of the one before it, with letters of 120 ms.
    start = 0.0
    for word in transcript_words(transcript, read_audio(clip)):
        assert word.start == pytest.approx(start, abs=0.15) and word.end > word.start
        start += 0.12 * (len(word.text) + 2)

    with serve(tmp_path / "hub") as hub:
        publish_and_verify(recipe, "ana/letters", hub, command, "--transcribe", "4")


@pytest.mark.slow
@pytest.mark.parametrize("name, method, steps", [("mms", lora("mms"), 2), ("hubert", modules("hubert"), 240)])
def test_adapters_that_learned_little_are_published_verified_and_loaded_by_the_code_of_the_card(
    make: Make, name: str, method: dict[str, Any], steps: int, command: Command, tmp_path: Path
) -> None:
    training = {
        "max_steps": steps,
        "eval_strategy": "steps",
        "eval_steps": steps,
        "save_steps": steps,
        "warmup_steps": 0,
    }
    recipe = make(name, training, method, hub={"publish_base_as": f"tiny-{name}"})
    record = train(recipe)
    assert record is not None and record.family == name
    evaluate_run(recipe.run_path)
    write_card(recipe.run_path)
    clip = recipe.corpora.test[0].path.replace("rows.jsonl", "0.wav")
    expected = Transcriber.load(recipe.base, str(RunDirectory(recipe.run_path).adapter)).transcribe_file(clip).text
    with serve(tmp_path / "hub") as hub:
        publish_and_verify(recipe, "ana/letters", hub, command, "--transcribe", "4")
        assert output_of_snippet("ana/letters", hub, command, clip) == expected


@pytest.mark.parametrize("name", BASES)
def test_lora_trains_the_encoder_and_saves_the_head(make: Make, name: str) -> None:
    recipe = make(name, TWO_STEPS, lora(name))
    record = train(recipe)
    assert record is not None and record.family == name
    assert all(count for count in record.trainable_parameters.values())
    adapter = RunDirectory(recipe.run_path).adapter
    settings = AdapterRecord.read(adapter / "escoita.json")
    assert settings.rendered_prompt == "" and settings.target_lang == ("glg" if name == "mms" else None)
    tokens = json.loads((adapter / "vocab.json").read_text("utf-8"))
    assert sorted(tokens, key=tokens.__getitem__) == ["<pad>", "<unk>", "|", *"abcde"]
    saved = json.loads((adapter / "adapter_config.json").read_text("utf-8"))["modules_to_save"]
    assert set(saved) == {"lm_head", *(["adapter_layer"] if name == "mms" else [])}
    transcriber = Transcriber.load(recipe.base, str(adapter))
    assert transcriber.model.lm_head.out_features == len(tokens)


def test_a_base_in_half_precision_is_trained_in_float32(make: Make) -> None:
    recipe = make("wav2vec2-bert", TWO_STEPS, modules("wav2vec2-bert"), dtype="float32")
    AutoModel.from_pretrained(recipe.base, dtype="bfloat16").save_pretrained(recipe.base)
    record = train(recipe)
    assert record is not None and record.steps == 2


def test_the_card_of_mms_states_its_license(make: Make) -> None:
    recipe = make("mms", TWO_STEPS, lora("mms"), eval={"resamples": 100, "probes": False})
    train(recipe)
    evaluate_run(recipe.run_path)
    card = write_card(recipe.run_path).read_text("utf-8")
    assert "CC-BY-NC 4.0" in card and "`glg`" in card


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2-bert"])
def test_accumulation_checkpointing_resume_and_split_batches_give_the_same_losses(
    make: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path(make(name, {}, lora(name)).base)
    config = json.loads((base / "config.json").read_text("utf-8"))
    deterministic = {"mask_time_prob": 0.0, "final_dropout": 0.0, "conformer_conv_dropout": 0.0}
    (base / "config.json").write_text(json.dumps(config | deterministic), "utf-8")
    check_equal_losses(lambda training: make(name, training, lora(name)), 1e-3, monkeypatch)


def test_rows_without_enough_frames_are_rejected_and_unknown_characters_reported(
    make: Make, corpora: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = [json.loads(line) for line in Path(corpora["train"][0]["path"]).read_text().splitlines()]
    rows: list[dict[str, Any] | str] = [*good, *({"audio": good[0]["audio"], "text": "ab" * 100} for _ in range(4))]
    other: list[dict[str, Any] | str] = [{"audio": good[0]["audio"], "text": "ñandú"}]
    changed = {
        "train": [{"name": "letters", "path": str(write_manifest(tmp_path / "train.jsonl", rows))}],
        "test": [{"name": "letters", "path": str(write_manifest(tmp_path / "test.jsonl", other))}],
        "max_rejected_share": 0.5,
    }
    once = {"max_steps": 1, "save_strategy": "no", "warmup_steps": 0}
    recipe = make("wav2vec2", once, lora("wav2vec2"), corpora=changed)
    assert train(recipe, dry_run=True) is None
    output = " ".join(capfd.readouterr().err.split())
    assert "4 rows: the transcript needs 200 frames" in output
    found = [finding for finding in examine(recipe) if finding.about == "vocabulary"]
    assert [finding.mark for finding in found] == ["ok", "warning"] and "'ñ'" in found[1].found


def test_a_base_without_a_head_is_not_served(make: Make) -> None:
    base = make("hubert", {}, lora("hubert")).base
    assert not family_of(base).transcribes_alone
    from escoita.inference.model_source import find_model

    with pytest.raises(EscoitaError) as error:
        find_model(base, language="gl")
    assert error.value.path == base
