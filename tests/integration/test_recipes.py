"""
Test dry runs of the published recipes over HTTP against the Hub double.

The overrides replace what a machine without a GPU and without the corpora does not have: the bases, by tiny ones of
the same classes under the same names; the recordings; bfloat16; and the engine, because Unsloth cannot be imported
without a GPU (see `tests/unsloth`). Recipes on FLEURS download it from the double, in the layout of google/fleurs.
"""

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile
from huggingface_hub import HfApi

from escoita.models import family_of
from escoita.recipe.schema import FLEURS
from tests.conftest import CORPUS
from tests.hub_double import HubDouble, serve
from tests.hub_double.store import MAIN
from tests.models.bases import write_qwen3_asr
from tests.models.ctc_bases import write_w2v_bert
from tests.models.phi4_samples import write_phi4
from tests.models.samples import write_mms, write_whisper


Command = Callable[..., subprocess.CompletedProcess[str]]
WITHOUT_GPU = ("engine=transformers", "training.use_cpu=true")
GEMMA, PHI = "unsloth/gemma-4-e4b-it-unsloth-bnb-4bit", "microsoft/Phi-4-multimodal-instruct"


# The recipes on FLEURS: the tiny base in place of the published one, and overrides.
ON_FLEURS = {
    "gemma4-e2b-galician-fleurs": ("unsloth/gemma-4-E2B-it", "tiny-gemma4", ()),
    "gemma4-uzbek-fleurs": ("unsloth/gemma-4-E4B-it", "tiny-gemma4", ()),
    "whisper-large-v3-turbo-galician": ("openai/whisper-large-v3-turbo", "whisper", ("training.warmup_steps=0",)),
    "whisper-small-uzbek": ("openai/whisper-small", "whisper", ("training.warmup_steps=0",)),
    "qwen3-asr-galician": ("Qwen/Qwen3-ASR-1.7B-hf", "qwen3_asr", ()),
    "w2v-bert-uzbek": ("facebook/w2v-bert-2.0", "w2v_bert", ("training.warmup_steps=0",)),
    "mms-1b-galician": ("facebook/mms-1b-all", "mms", ("training.warmup_steps=0",)),
}


def fleurs(language: str) -> dict[str, bytes]:
    """Return a few clips of the quick start in the layout of FLEURS, by path below the folder of a configuration."""
    corpus, files = CORPUS.parent / language, {}
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        lines = []
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for number, line in enumerate((corpus / f"{split}.jsonl").read_text("utf-8").splitlines()[:4]):
                row = json.loads(line)
                samples, rate = soundfile.read(corpus / row["audio_filepath"])
                recording = io.BytesIO()
                soundfile.write(recording, samples, rate, format="WAV")
                member = tarfile.TarInfo(f"{name}/{number}.wav")
                member.size = len(recording.getvalue())
                tar.addfile(member, io.BytesIO(recording.getvalue()))
                lines.append(f"{number}\t{number}.wav\t{row['text']}\t{row['text']}\ta\t{len(samples)}\tFEMALE\n")
        files[f"{name}.tsv"] = "".join(lines).encode()
        files[f"audio/{name}.tar.gz"] = packed.getvalue()
    return files


def write_tiny_bases(folder: Path) -> None:
    shutil.copytree("quickstart/gemma4", folder / "tiny-gemma4")
    write_whisper(folder / "whisper", positions=64, learns=True)
    write_w2v_bert(folder / "w2v_bert")
    write_mms(folder / "mms")
    (folder / "qwen3_asr").mkdir()
    write_qwen3_asr(folder / "qwen3_asr")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubDouble]:
    """Store tiny bases under the names of the real ones: one in 4 bits, one with its native layout in a PR."""
    folder = tmp_path_factory.mktemp("bases")
    family = family_of("quickstart/gemma4")
    family.load_model("quickstart/gemma4", load_in_4bit=True).save_pretrained(folder / "gemma4")
    family.save_processor(family.load_processor("quickstart/gemma4"), folder / "gemma4")
    write_phi4(folder / "phi4")
    with serve(folder / "hub", xet=True) as double:
        write_tiny_bases(folder)
        google = HfApi(endpoint=double.url, token="hf_google")
        google.create_repo(FLEURS, repo_type="dataset")
        for config, language in (("gl_es", "gl"), ("uz_uz", "uz")):
            files = {f"data/{config}/{path}": content for path, content in fleurs(language).items()}
            double.commit(FLEURS, files, f"Add {config}", "dataset")
        for repo, base in ((GEMMA, "gemma4"), (PHI, "phi4"), *(each[:2] for each in ON_FLEURS.values())):
            api = HfApi(endpoint=double.url, token=f"hf_{repo.split('/')[0]}")
            api.create_repo(repo)
            api.upload_folder(repo_id=repo, folder_path=folder / base)
        phi = double.store.repos["model", PHI]
        phi.refs["refs/pr/70"] = phi.refs[MAIN]
        yield double


@pytest.fixture
def dry_run(command: Command, hub: HubDouble) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(recipe: str, *overrides: str) -> subprocess.CompletedProcess[str]:
        arguments = [argument for override in overrides for argument in ("--set", override)]
        local = {"HF_ENDPOINT": hub.url, "HTTP_PROXY": "", "HTTPS_PROXY": ""}
        return command("training/sft.py", "--recipe", f"recipes/{recipe}.yaml", *arguments, "--dry-run", **local)

    return run


def corpora(*names: str) -> list[str]:
    """Return overrides that replace the corpora of a recipe by some clips of the quick start."""
    return [
        f"corpora.{split}=" + json.dumps([{"name": name, "path": str(CORPUS / f"{split}.jsonl"), "limit": 4}])
        for split in ("train", "validation")
        for name in names
    ]


@pytest.mark.slow
def test_the_uzbek_recipe(dry_run: Callable[..., subprocess.CompletedProcess[str]], hub: HubDouble) -> None:
    towers = "method.trainable={language: 58368, audio: 100736, vision: none}"
    # The few clips make one step, whose learning rate would be 0 with a warm-up.
    ran = dry_run("gemma4-uzbek", *WITHOUT_GPU, "training.warmup_steps=0", towers, *corpora("own"))
    assert ran.returncode == 0, ran.stderr
    assert "159,104 (audio 100,736, vision 0, language 58,368)" in ran.stderr
    requested = {path for method, path, status in hub.log if method in ("GET", "HEAD") and GEMMA in path}
    assert requested and not [path for path in requested if path.endswith(".safetensors")]


@pytest.mark.slow
def test_the_uzbek_recipe_needs_4_bits_and_exactly_its_layers(
    dry_run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    ran = dry_run("gemma4-uzbek", *WITHOUT_GPU, "load_in_4bit=false", "training.warmup_steps=0", *corpora("own"))
    assert ran.returncode == 1 and GEMMA in ran.stderr and "4 bits" in ran.stderr
    ran = dry_run("gemma4-uzbek", *WITHOUT_GPU, "training.warmup_steps=0", *corpora("own"))
    assert ran.returncode == 1 and "method.trainable.audio: 2707456: 100,736 " in ran.stderr


@pytest.mark.slow
def test_the_galician_recipe(dry_run: Callable[..., subprocess.CompletedProcess[str]], hub: HubDouble) -> None:
    ran = dry_run("phi4-galician", "method.trainable.audio=some", *corpora("own"))
    assert ran.returncode == 0, ran.stderr
    assert "vision 0, language 0)" in ran.stderr
    assert not [path for _, path, _ in hub.log if PHI in path and path.endswith(".safetensors")]
    assert [path for _, path, _ in hub.log if PHI in path and "refs%2Fpr%2F70" in path]


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_FLEURS)
def test_a_recipe_on_fleurs_needs_no_preparation(
    dry_run: Callable[..., subprocess.CompletedProcess[str]], hub: HubDouble, name: str
) -> None:
    base, _, overrides = ON_FLEURS[name]
    ran = dry_run(name, "training.use_cpu=true", *overrides)
    assert ran.returncode == 0, ran.stderr
    assert "fleurs" in ran.stderr and "method.trainable" not in ran.stderr
    assert [path for _, path, _ in hub.log if FLEURS in path and path.endswith("train.tsv")]
    assert not [path for _, path, _ in hub.log if base in path and path.endswith(".safetensors")]
