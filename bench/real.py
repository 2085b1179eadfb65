"""
Check the whole path from recordings to a published adapter with published weights and real speech.

    make test-real
    make test-real BASE=whisper-base CORPUS=recordings/table.csv LANGUAGE=es
    python bench/real.py --base openai/whisper-small --steps 48 --out runs/real-small

Each stage is a command of escoita in a process of its own: `init`, `train`, `eval`, `card`, `push` to a double of the
Hub on this machine, `verify`, `transcribe`. The figures of a stage have limits: training takes at most 15 CPU
minutes, and the intervals of the paired differences of WER and CER between adapter and base are below 0. All figures
are written to `OUT/real-check.json`. A stage that passed is not run again by the same command, so that an interrupted
check continues. Exits with status 1 if a stage failed.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer


ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # this folder is not installed

from bench.gpu.part import Figure, Outcome  # noqa: E402
from bench.machine import machine  # noqa: E402
from escoita.cli.main import script  # noqa: E402
from escoita.errors import EscoitaError  # noqa: E402
from escoita.hub.failures import explain_hub_errors  # noqa: E402
from escoita.models.families import BY_MODEL_TYPE  # noqa: E402
from escoita.records.evaluation import BASE, EvaluationRecord, Metric  # noqa: E402
from escoita.run_directory import RunDirectory  # noqa: E402


MOST_CPU_MINUTES = 15.0
REPO = "ana/real"
CLIPS_PER_STEP = 8


class StageError(EscoitaError):
    """Report a command that failed."""

    problem = "the command failed"
    hint = "read its output above"


@dataclass
class Check:
    """
    Hold the settings of a check, and what its stages share.

    Args:
        base (`str`): The folder or the repository of the base.
        corpus (`str`): The recordings, in any form that `escoita init` recognizes; FLEURS if empty.
        language (`str`): The language of the recordings.
        steps (`int`): The number of optimizer steps of 8 clips.
        clips (`int`): The largest number of test clips.
        learning_rate (`float`): The learning rate.
        out (`Path`): The folder of the check.
        hub (`str`): The address of the double of the Hub.
        cpu_seconds (`float`): The CPU time of the commands of the stage, also of those that were interrupted, in
            seconds.
        memory (`float`): The largest resident memory of the last command, in GB.
    """

    base: str
    corpus: str
    language: str
    steps: int
    clips: int
    learning_rate: float
    out: Path
    hub: str = ""
    cpu_seconds: float = field(default=0.0, init=False)
    memory: float = field(default=0.0, init=False)

    @property
    def recipe(self) -> Path:
        """Return the path of the recipe."""
        return self.out / "real.yaml"

    @property
    def run(self) -> RunDirectory:
        """Return the run directory."""
        return RunDirectory(self.out / "run")

    def results(self) -> EvaluationRecord:
        """Return the record of the evaluation."""
        return EvaluationRecord.read(self.run.results)

    def escoita(self, *arguments: object, published: bool = False) -> str:
        """
        Run a command of escoita, and measure its CPU time and memory.

        Args:
            arguments: The arguments.
            published (`bool`, *optional*, defaults to `False`): Whether the command uses the double of the Hub.

        Returns:
            `str`: The standard output.

        Raises:
            StageError: The exit status is not 0.
        """
        environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
        if published:
            environment |= {"HF_ENDPOINT": self.hub, "HF_TOKEN": "hf_ana", "HF_HUB_DISABLE_XET": "1"}
            environment |= {"HF_HOME": str(self.out / "hf"), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-m", "escoita", *map(str, arguments)]
        print(f"  escoita {' '.join(command[3:])}", flush=True)
        with (self.out / "output.txt").open("w+", encoding="utf-8") as output:
            process = subprocess.Popen(command, cwd=self.out, env=environment, stdout=output)  # noqa: S603
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            printed = output.read()
        if process.returncode or "--json" not in arguments:
            print(printed, end="", flush=True)
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        self.memory = usage.ru_maxrss * 1024 / 1e9
        if process.returncode:
            raise StageError(key=str(arguments[0]), value=f"status {process.returncode}")
        return printed

    def cost(self) -> list[Figure]:
        """Return the CPU time of the stage, and the memory of its last command."""
        return [Figure("CPU time", self.cpu_seconds / 60, "min"), Figure("memory", self.memory, "GB")]


def prepare(check: Check) -> list[Figure]:
    """Download a base that is no folder, and write the recipe."""
    import yaml

    if not Path(check.base).is_dir():
        from huggingface_hub import snapshot_download

        with explain_hub_errors(check.base, "base", local=True, key="--base"):
            check.base = snapshot_download(check.base, allow_patterns=["*.json", "*.txt", "model.safetensors"])
    if check.corpus:
        given = ("--base", check.base, "--publish-transcripts", "--name", check.recipe.stem, "--yes", "--force")
        check.escoita("init", check.corpus, "--language", check.language, *given)
        recipe = yaml.safe_load(check.recipe.read_text("utf-8"))
    else:
        fleurs = {"name": "fleurs", "reader": "fleurs", "path": "google/fleurs"}
        trained = fleurs | {"split": "train", "limit": check.steps * CLIPS_PER_STEP}
        recipe = {"corpora": {"train": [trained], "test": [fleurs | {"split": "test"}]}}
    for corpus in recipe["corpora"]["test"]:
        corpus.setdefault("limit", check.clips)
    check.recipe.write_text(yaml.safe_dump(recipe | settings(check), sort_keys=False, allow_unicode=True), "utf-8")
    return []


def settings(check: Check) -> dict[str, Any]:
    """Return the keys of the recipe that do not depend on the corpus: LoRA on the decoder of Whisper, in float32."""
    info = BY_MODEL_TYPE["whisper"]
    return {
        "name": "real",
        "base": check.base,
        "dtype": "float32",
        "language": check.language,
        "method": {
            "kind": "lora",
            "r": 16,
            "lora_alpha": 32,
            "target_modules": info.language_layers,
            "trainable": {"language": "some"},
        },
        "prompt": {"user": ""},
        "training": {
            "max_steps": check.steps,
            "per_device_train_batch_size": CLIPS_PER_STEP,
            "learning_rate": check.learning_rate,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 0.03,
            "bf16": False,
            "gradient_checkpointing": False,
            "eval_strategy": "no",
            "logging_steps": 2,
            "save_steps": max(1, check.steps // 2),
            "seed": 3407,
        },
        "validation": {"patience": None},
        "eval": {"probes": False},
        "card": {"title": "Whisper on real speech (a check of escoita)", "license": "apache-2.0"},
        "hub": {"publish_base_as": "real-base"},
        "run_dir": str(check.run.path),
    }


def train(check: Check) -> list[Figure]:
    """Train the adapter; the CPU time includes imports and checks of the data."""
    check.escoita("train", check.recipe)
    minutes, memory = check.cost()
    return [Figure(minutes.name, minutes.value, minutes.unit, at_most=MOST_CPU_MINUTES), memory]


def evaluate(check: Check) -> list[Figure]:
    """Evaluate adapter and base, with a paired interval of the CER, and then, without a model, with one of the WER."""
    check.escoita("eval", "--run", check.run.path, "--set", "eval.primary=cer")
    cost = check.cost()
    record = check.results()
    figures = [Figure("clips", record.pooled.n), Figure("audio", record.pooled.audio_seconds / 60, "min"), *cost]
    figures += difference(record, "cer")
    check.escoita("eval", "--run", check.run.path, "--rescore", "--set", "eval.primary=wer")
    return figures + difference(check.results(), "wer")


def difference(record: EvaluationRecord, metric: Metric) -> list[Figure]:
    """Return the rates of base and adapter in a metric, and the paired interval of their difference."""
    figures = []
    for system in (BASE, record.main_system.name):
        if result := record.pooled.of(system):
            low, high = result.normalized.ci95(metric)
            figures.append(Figure(f"{metric.upper()}, {system}", result.normalized.rate(metric)))
            figures += [Figure("  from", low), Figure("  to", high)]
    if compared := record.pooled.against(BASE):
        low, high = compared.ci95
        figures.append(Figure(f"{metric.upper()}, adapter minus base", compared.value))
        figures += [Figure("  from", low), Figure("  to", high, at_most=-1e-9)]
    return figures


def write_card(check: Check) -> list[Figure]:
    """Write the card."""
    check.escoita("card", "--run", check.run.path)
    return [Figure("characters", len(check.run.card.read_text("utf-8")), at_least=1)]


def publish(check: Check) -> list[Figure]:
    """Publish adapter and base on the double of the Hub, and verify what it serves."""
    check.escoita("push", "--run", check.run.path, "--repo", REPO, "--publish-base", published=True)
    counts = json.loads(check.escoita("verify", REPO, "--json", published=True))["counts"]
    return [Figure(f"checks of the card: {verdict}", count) for verdict, count in counts.items()]


def transcribe(check: Check) -> list[Figure]:
    """Transcribe the recording with the longest text of the test with the published adapter."""
    from escoita.data.readers import read_corpus
    from escoita.recipe.schema import load_recipe

    recipe = load_recipe(check.recipe)
    rows, _ = read_corpus(recipe.corpora.test[0], recipe.language)
    clip = max(rows, key=lambda row: len(row.text))
    folder = check.out / "transcripts"
    check.escoita("transcribe", clip.audio, "-m", REPO, "-o", folder, "--overwrite", published=True)
    texts = [path.read_text("utf-8").strip() for path in folder.rglob("*.txt")]
    print(f"  Reference: {clip.text}\n  Transcript: {' '.join(texts)}")
    return [Figure("words", len(" ".join(texts).split()), at_least=1)]


STAGES: dict[str, Callable[[Check], list[Figure]]] = {
    "recipe": prepare,
    "training": train,
    "evaluation": evaluate,
    "card": write_card,
    "publication": publish,
    "transcription": transcribe,
}


def outcome_of(name: str, check: Check) -> Outcome:
    """Run a stage, and print its figures."""
    print(f"\n{name}", flush=True)
    started = time.perf_counter()
    try:
        figures = STAGES[name](check)
    except EscoitaError as error:
        outcome = Outcome(name, "failed", str(error))
    else:
        failed = [figure.name.strip() for figure in figures if not figure.passed]
        outcome = Outcome(name, "failed" if failed else "passed", "; ".join(failed), figures)
    outcome.seconds = round(time.perf_counter() - started, 1)
    for figure in outcome.figures:
        print(f"  {figure}")
    print(f"  {outcome.status}{f' ({outcome.reason})' if outcome.reason else ''}, {outcome.seconds} s", flush=True)
    return outcome


@contextmanager
def double(folder: Path) -> Iterator[str]:
    """Serve a double of the Hub, whose files are in a folder, and yield its address."""
    from tests.hub_double import serve

    with serve(folder) as hub:
        yield hub.url


def run_check(check: Check) -> bool:
    """
    Run the stages that have not passed yet, and write all figures after each stage.

    Args:
        check ([`Check`]): The settings.

    Returns:
        `bool`: Whether all stages passed.
    """
    out = check.out / "real-check.json"
    about: dict[str, Any] = {
        "base": check.base,
        "corpus": check.corpus or f"FLEURS, {check.language}",
        "language": check.language,
    }
    about |= {"steps": check.steps, "clips_per_step": CLIPS_PER_STEP, "learning_rate": check.learning_rate}
    document: dict[str, Any] = (
        json.loads(out.read_text("utf-8")) if out.is_file() else {"settings": about, "stages": []}
    )
    if document["settings"] != about:
        raise EscoitaError("has results with other settings", path=out, hint="remove it, or give another --out")
    # The double keeps its repositories in memory, so that the stages which use it are run again.
    before = {each["name"]: each["cpu_seconds"] for each in document["stages"]}
    kept = [each for each in document["stages"] if each["status"] == "passed" and each["name"] in list(STAGES)[:4]]
    for each in kept:
        print(f"{each['name']}: passed before")
    document |= {"machine": machine(), "passed": False, "stages": kept}
    for name in [name for name in STAGES if name not in {each["name"] for each in kept}]:
        check.cpu_seconds = before.get(name, 0.0)
        document["stages"].append(outcome_of(name, check).document() | {"cpu_seconds": check.cpu_seconds})
        passed = len(document["stages"]) == len(STAGES)
        document["passed"] = passed and all(each["status"] == "passed" for each in document["stages"])
        out.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
        if not document["stages"][-1]["figures"] and document["stages"][-1]["status"] == "failed":
            break
    print(f"\n{'PASSED' if document['passed'] else 'FAILED'}: {len(document['stages'])} of {len(STAGES)} stages run")
    print(f"Figures: {out}")
    return bool(document["passed"])


def real(
    base: Annotated[str, typer.Option(help="Whisper base, a folder or repository.")] = "openai/whisper-base",
    corpus: Annotated[str, typer.Option(help="Recordings that `escoita init` recognizes (default: FLEURS).")] = "",
    language: Annotated[str, typer.Option(help="Language of the recordings (a tag such as gl).")] = "gl",
    steps: Annotated[int, typer.Option(help="Number of optimizer steps of 8 clips.", min=2)] = 48,
    clips: Annotated[int, typer.Option(help="Largest number of test clips.", min=1)] = 60,
    learning_rate: Annotated[float, typer.Option(help="Learning rate.")] = BY_MODEL_TYPE["whisper"].learning_rate,
    out: Annotated[Path, typer.Option(help="Folder of the check.")] = Path("runs/real"),
) -> None:
    """Check training, evaluation, card, publication and transcription with published weights and real speech."""
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    base, corpus = (
        str(Path(given).absolute()) if given and Path(given).exists() else given for given in (base, corpus)
    )
    with double(out / "hub") as hub:
        passed = run_check(Check(base, corpus, language, steps, clips, learning_rate, out, hub))
    if not passed:
        raise typer.Exit(1)


if __name__ == "__main__":
    script(real)
