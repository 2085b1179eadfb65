"""
Test dry runs of the published recipes over HTTP against the Hub double.

The overrides replace what a machine without a GPU and without the corpora does not have: the bases, by tiny ones of
the same classes under the same names; the recordings; bfloat16; and the engine, because Unsloth cannot be imported
without a GPU (see `tests/unsloth`).
"""

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
from huggingface_hub import HfApi

from escoita.models import family_of
from tests.conftest import CORPUS
from tests.hub_double import HubDouble, serve
from tests.hub_double.store import MAIN
from tests.models.phi4_samples import write_phi4


Command = Callable[..., subprocess.CompletedProcess[str]]
WITHOUT_GPU = ("engine=transformers", "training.use_cpu=true")
GEMMA, PHI = "unsloth/gemma-4-e4b-it-unsloth-bnb-4bit", "microsoft/Phi-4-multimodal-instruct"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubDouble]:
    """Store tiny bases under the names of the real ones: one in 4 bits, one with its native layout in a PR."""
    folder = tmp_path_factory.mktemp("bases")
    family = family_of("quickstart/gemma4")
    family.load_model("quickstart/gemma4", load_in_4bit=True).save_pretrained(folder / "gemma4")
    family.save_processor(family.load_processor("quickstart/gemma4"), folder / "gemma4")
    write_phi4(folder / "phi4")
    with serve(folder / "hub", xet=True) as double:
        for repo, base in ((GEMMA, "gemma4"), (PHI, "phi4")):
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
