"""Make a small run whose card can be verified: its rates follow from predictions that are stored with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from escoita import __version__
from escoita.cards.publication import publication
from escoita.evaluation.aggregate import score
from escoita.evaluation.counts import write_counts
from escoita.evaluation.report.render import write_report
from escoita.hub.files import weights_digest
from escoita.records.data import CorpusData, DataRecord, Leak, Normalization, Spread
from escoita.records.evaluation import EvaluationRecord
from escoita.records.plots import duration_plot
from escoita.records.training import BaseRecord, CorpusUse
from escoita.run_directory import RunDirectory
from escoita.training.outputs import adapter_files
from escoita.utils.files import write_atomically
from tests.cards.publishing import BASE, REPO
from tests.cards.samples import recipe, validated_training, write_run
from tests.conftest import ROOT
from tests.evaluation.samples import write_rows


ROWS = [
    ("chiroqni yoq", "chiroqni yoq", "chiroq yoq bir"),
    ("eshikni och", "eshikni och", "och"),
    ("musiqani toʻxtat endi", "musiqani toʻxtat", "musiqa"),
    ("soat nechchi boʻldi", "soat nechchi boʻldi", "soat soat soat"),
]
RANK, TRAIN_CLIPS, VALIDATION_CLIPS = 4, 800, 48
TARGETS = {"model.audio_tower.q_proj": (32, 16), "model.language_model.q_proj": (16, 24)}
CONFIG = {
    "base_model_name_or_path": BASE,
    "peft_type": "LORA",
    "r": RANK,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "bias": "none",
    "use_rslora": False,
    "target_modules": ".*_proj",
    "modules_to_save": None,
}


def lora_weights(value: float = 0.5, rank: int = RANK) -> bytes:
    """Return an adapter of two linear layers, one of each tower, whose values are all the same."""
    tensors = {}
    for name, (inputs, outputs) in TARGETS.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = np.full((rank, inputs), value, np.float32)
        tensors[f"base_model.model.{name}.lora_B.weight"] = np.full((outputs, rank), value, np.float32)
    return save(tensors)


WEIGHTS = {"base": save({"weight": np.ones(64, dtype=np.float32)}), "adapter": lora_weights()}
OTHER_WEIGHTS = lora_weights(0.25)


def digest_of(folder: Path, weights: bytes) -> str:
    write_atomically(folder / "model.safetensors", weights)
    return weights_digest(str(folder))


def make_verifiable_run(path: Path, hidden: bool = False) -> RunDirectory:
    """
    Write the records of a training, and evaluate predictions that are given here; no model is loaded.

    Args:
        path (`Path`): Run directory.
        hidden (`bool`, *optional*): Whether the transcripts of the test corpus are withheld.
    """
    test = {"name": "clips", "path": "test.jsonl", "title": "Some clips", "publish_references": not hidden}
    validation = {"name": "clips", "path": "validation.jsonl"}
    asked = recipe(
        corpora={"test": [test], "validation": [validation]},
        eval={"resamples": 100, "probes": True},
        training={"per_device_train_batch_size": 16, "num_train_epochs": 12, "seed": 3407},
    ).model_copy(update={"base": BASE})
    digests = {
        "base_sha256": digest_of(path.parent / "base-weights", WEIGHTS["base"]),
        "adapter_sha256": digest_of(path.parent / "adapter-weights", WEIGHTS["adapter"]),
    }
    sizes = {name.split(".")[1].split("_")[0]: RANK * sum(shape) for name, shape in TARGETS.items()}
    used = [(TRAIN_CLIPS, "train", 1800.0), (VALIDATION_CLIPS, "validation", 96.0)]
    training = validated_training(
        base=BASE,
        trainable_parameters=sizes,
        corpora=[
            CorpusUse(name="clips", split=split, utterances=clips, audio_seconds=seconds, rejected=0)
            for clips, split, seconds in used
        ],
        versions={"escoita": __version__, "torch": "2.13.0", "peft": "0.21.2"},
        seed=3407,
        **digests,
    )
    characters = sum(len(row[0]) for row in ROWS)
    corpora = [corpus_data(split, clips, seconds) for clips, split, seconds in used]
    test_data = corpus_data("test", len(ROWS), 2.0 * len(ROWS), characters, [0, 0, len(ROWS)])
    corpora.append(test_data.model_copy(update={"speakers": 2}))
    data = DataRecord(
        name="small",
        max_audio_seconds=30.0,
        normalizer="raw",
        duration_edges=[0.0, 1.0, 2.0],
        corpora=corpora,
        missing=[],
        duplicates=[],
        leaks=[
            Leak(
                corpus="clips",
                split=split,
                seen=["train"],
                by=by,
                compared=4,
                clips=0,
                share=0.0,
                distinct=0,
                examples=[],
            )
            for split in ("validation", "test")
            for by in ("transcript", "speaker", "audio")
        ],
    )
    run = write_run(path, asked, training, None, data)
    write_atomically(run.durations, duration_plot(data.duration_edges, data.histograms))
    of_system: Any = {"base": BASE, "base_sha256": digests["base_sha256"]}
    known = [{"speaker": name} for name in ("maria", "jon", "maria", "jon")]
    write_rows(
        run.eval,
        [row[:2] for row in ROWS],
        systems=["adapter"],
        known=known,
        adapter_sha256=digests["adapter_sha256"],
        **of_system,
    )
    write_rows(run.eval, [(row[0], row[2]) for row in ROWS], systems=["base"], known=known, **of_system)
    probes = [("", ""), ("", "")]
    write_rows(run.eval, probes, "probes", systems=["adapter"], adapter_sha256=digests["adapter_sha256"], **of_system)
    write_rows(run.eval, probes, "probes", systems=["base"], **of_system)
    record = score(run.eval, "raw", 100)
    record.write(run.results)
    write_report(run.eval, record)
    write_counts(run.eval, asked.corpora.test, "raw")
    run.adapter.mkdir()
    write_atomically(run.adapter / "adapter_config.json", json.dumps(CONFIG))
    write_atomically(run.adapter / "adapter_model.safetensors", WEIGHTS["adapter"])
    write_atomically(run.adapter / "tokenizer.json", json.dumps({"model": {"vocab": {"a": 0}}}))
    write_atomically(run.adapter / "tokenizer_config.json", json.dumps({"bos_token": "<bos>"}))
    write_atomically(
        run.adapter / "chat_template.jinja", (ROOT / "quickstart/gemma4/chat_template.jinja").read_text("utf-8")
    )
    turn = f"<|turn>system\n{asked.prompt.system}<turn|>\n" if asked.prompt.system else ""
    rendered = f"<bos>{turn}<|turn>user\n<|audio|>{asked.prompt.user}<turn|>\n<|turn>model\n"
    base = BaseRecord(name=BASE, sha256=digests["base_sha256"])
    settings = asked.generation_settings().model_copy(update={"base": base, "rendered_prompt": rendered})
    settings.write(run.adapter / "escoita.json")
    training.model_copy(update={"adapter_files": adapter_files(run.adapter)}).write(run.training)
    return run


def corpus_data(
    split: str, clips: int, seconds: float, characters: int = 10_000, histogram: list[int] | None = None
) -> CorpusData:
    """Return the statistics of a corpus whose clips are equal."""
    spread = Spread(min=2.0, p5=2.0, median=2.0, mean=2.0, p95=2.0, max=2.0)
    fields: dict[str, Any] = dict.fromkeys(("rejected", "speakers", "without_speaker"), 0)
    fields |= {"reasons": [], "genders": {}, "outliers": [], "inventory": [], "sha256": "e" * 64, "words": 2000}
    return CorpusData(
        name="clips",
        split=split,
        language="uz",
        clips=clips,
        audio_seconds=seconds,
        seconds=spread,
        histogram=histogram or [0, 0, clips],
        characters_per_second=spread,
        characters=characters,
        normalization=Normalization(merged=0, split=0, emptied=0, examples=[]),
        **fields,
    )


def published(run: RunDirectory) -> dict[str, bytes]:
    """Return the published files of a run."""
    return publication(run, run.load_recipe(), REPO, BASE)


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        write_atomically(folder / name, content)
    return folder


def with_record(files: Mapping[str, bytes], **changes: Any) -> bytes:
    """Return `eval/results.json` with changes of the adapter's first rates."""
    record = EvaluationRecord.model_validate_json(files["eval/results.json"]).model_dump(mode="json", by_alias=True)
    record["corpora"][0]["systems"][0]["normalized"] |= changes
    return json.dumps(record).encode()
