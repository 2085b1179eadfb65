"""A small run whose card can be proved: its rates are those of predictions that stand beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from cards.publication import publication
from escoita.data_record import DataRecord
from escoita.evaluation import EvaluationRecord
from escoita.files import write_atomically
from escoita.plots import duration_plot
from escoita.resolve import weights_digest
from escoita.rundir import RunDirectory
from eval.counts import write_counts
from eval.report import write_report
from eval.results import score
from tests.cards.publishing import BASE, REPO
from tests.cards.samples import heard_training, recipe, write_run
from tests.eval.samples import write_rows


ROWS = [
    ("chiroqni yoq", "chiroqni yoq", "chiroq yoq bir"),
    ("eshikni och", "eshikni och", "och"),
    ("musiqani toʻxtat endi", "musiqani toʻxtat", "musiqa"),
    ("soat nechchi boʻldi", "soat nechchi boʻldi", "soat soat soat"),
]
WEIGHTS = {
    "base": save({"weight": np.ones(64, dtype=np.float32)}),
    "adapter": save({"lora": np.zeros(64, np.float32)}),
}
OTHER_WEIGHTS = save({"lora": np.ones(64, np.float32)})


def digest_of(folder: Path, weights: bytes) -> str:
    write_atomically(folder / "model.safetensors", weights)
    return weights_digest(str(folder))


def make_proven_run(path: Path, hidden: bool = False) -> RunDirectory:
    """
    Trained as far as records tell, and evaluated on rows made by hand; nothing is loaded.

    Args:
        path (`Path`): The run directory.
        hidden (`bool`, *optional*): The transcripts of the test corpus may not be published.
    """
    test = {"name": "clips", "path": "test.jsonl", "title": "Some clips", "publish_references": not hidden}
    asked = recipe(corpora={"test": [test]}, eval={"resamples": 50}).model_copy(update={"base": BASE})
    digests = {
        "base_sha256": digest_of(path.parent / "base-weights", WEIGHTS["base"]),
        "adapter_sha256": digest_of(path.parent / "adapter-weights", WEIGHTS["adapter"]),
    }
    training = heard_training(base=BASE, **digests)
    data = DataRecord(
        name="small",
        max_audio_seconds=30.0,
        normalizer="raw",
        duration_edges=[0.0, 1.0, 2.0],
        corpora=[],
        missing=[],
        duplicates=[],
        leaks=[],
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
    record = score(run.eval, "raw", 50)
    record.write(run.results)
    write_report(run.eval, record)
    write_counts(run.eval, asked.corpora.test, "raw")
    run.adapter.mkdir()
    config = {"base_model_name_or_path": BASE, "peft_type": "LORA"}
    write_atomically(run.adapter / "adapter_config.json", json.dumps(config))
    write_atomically(run.adapter / "adapter_model.safetensors", WEIGHTS["adapter"])
    spoken = asked.spoken()
    spoken.write(run.adapter / "escoita.json")
    return run


def published(run: RunDirectory) -> dict[str, bytes]:
    """What is published of it."""
    return publication(run, run.load_recipe(), REPO, BASE)


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        write_atomically(folder / name, content)
    return folder


def with_record(files: Mapping[str, bytes], **changes: Any) -> bytes:
    """`eval/results.json` with the adapter's first rates changed."""
    record = EvaluationRecord.model_validate_json(files["eval/results.json"]).model_dump(mode="json", by_alias=True)
    record["corpora"][0]["systems"][0]["normalized"] |= changes
    return json.dumps(record).encode()
