"""Test publishing with the real client over HTTP and the Hub double."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from escoita.cards.published_base import base_files
from escoita.inference.transcriber import Transcriber
from escoita.recipe.schema import Recipe
from escoita.records.evaluation import EvaluationRecord
from escoita.run_directory import RunDirectory
from tests.cards.publishing import REPO, Command, client_environment, commits, content, snapshot
from tests.conftest import CORPUS, ROOT, write_manifest
from tests.hub_double import HubDouble, serve


BASE_REPO = "ana/escoita-tiny-gemma4"


@pytest.fixture(params=["lfs", pytest.param("xet", marks=pytest.mark.slow)])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub", xet=request.param == "xet") as double:
        yield double


@pytest.fixture
def plain_hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub") as double:
        yield double


def test_push_is_one_commit_that_others_can_use(
    hub: HubDouble, quickstart_run: Path, command: Command, tmp_path: Path
) -> None:
    run = RunDirectory(quickstart_run)
    before = snapshot(quickstart_run)
    pushed = command(
        "cards/push.py", "--run", str(quickstart_run), "--repo", REPO, "--publish-base", **client_environment(hub)
    )
    assert pushed.returncode == 0, pushed.stderr
    assert snapshot(quickstart_run) == before
    assert pushed.stdout.startswith(f"{hub.url}/{REPO}/commit/")
    assert commits(hub, REPO) == ["Publish quickstart-uzbek", "initial commit"]
    assert commits(hub, BASE_REPO) == ["Publish the base of an adapter", "initial commit"]

    tree = set(hub.store.repos["model", REPO].at("main").tree)
    assert {"README.md", "adapter_model.safetensors", "escoita.json", "training.json", "eval/results.json"} <= tree
    for system in ("", "-base"):
        for corpus in ("escoita-quickstart-uz", "probes"):
            assert f"eval/{corpus}/predictions{system}.parquet" in tree
    for name in ("adapter_model.safetensors", "tokenizer.json", "escoita.json"):
        assert content(hub, name, REPO) == (run.adapter / name).read_bytes()
    published = EvaluationRecord.model_validate_json(content(hub, "eval/results.json", REPO))
    assert published.main_system.base == BASE_REPO
    assert published.pooled.systems == EvaluationRecord.read(run.results).pooled.systems
    weights = (ROOT / "quickstart/gemma4/model.safetensors").read_bytes()
    assert content(hub, "model.safetensors", BASE_REPO) == weights

    card = content(hub, "README.md", REPO).decode()
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["base_model"], front["base_model_relation"]) == (BASE_REPO, "adapter")
    assert (front["library_name"], front["pipeline_tag"]) == ("peft", "automatic-speech-recognition")

    clip = CORPUS / "test/0001.ogg"
    transcriber = Transcriber.load("quickstart/gemma4", str(run.adapter))
    local = transcriber.transcribe_file(clip).text
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        ran = command("-c", snippet.replace("clip.wav", str(clip)), **client_environment(hub, token=None))
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.strip() == local


@pytest.mark.slow
def test_train_and_push_in_one_command_without_local_paths(
    plain_hub: HubDouble, short_recipe: Callable[..., Recipe], command: Command, tmp_path: Path
) -> None:
    rows = {"gone": {"audio_filepath": str(tmp_path / "gone.wav"), "text": "bir"}}
    train = write_manifest(tmp_path / "train.jsonl", "train", 8, **rows)
    recipe = short_recipe(
        f"base={ROOT / 'quickstart/gemma4'}",
        f"corpora.train=[{{name: mine, path: {train}}}]",
        "corpora.max_rejected_share=0.5",
        "training.max_steps=2",
        "eval.probes=false",
        f"space.examples=[{CORPUS / 'test/0001.ogg'}]",
        f"hub.repo={REPO}",
    )
    recipe.write(tmp_path / "recipe.yaml")
    done = command(
        "training/sft.py",
        "--recipe",
        str(tmp_path / "recipe.yaml"),
        "--push",
        "--publish-base",
        **client_environment(plain_hub),
    )
    assert done.returncode == 0, done.stderr
    assert commits(plain_hub, REPO)[0] == "Publish quickstart-uzbek"
    run = RunDirectory(recipe.run_path)
    assert run.card.is_file()
    for name in ("adapter_model.safetensors", "escoita.json"):
        assert content(plain_hub, name, REPO) == (run.adapter / name).read_bytes()
    training = content(plain_hub, "training.json", REPO).decode()
    assert "train.jsonl:9" in training and "gone.wav" not in training
    for name in plain_hub.store.repos["model", REPO].at("main").tree:
        for folder in (ROOT, recipe.run_path, tmp_path):
            assert str(folder).encode() not in content(plain_hub, name, REPO), (name, folder)


def test_obsolete_files_are_deleted_in_the_same_commit(
    plain_hub: HubDouble, quickstart_run: Path, command: Command
) -> None:
    program = (
        "from huggingface_hub import CommitOperationAdd, HfApi\n"
        f"api = HfApi()\napi.create_repo('{REPO}')\n"
        "names = ['training_args.bin', 'eval/old/predictions.parquet', 'notes.md']\n"
        "operations = [CommitOperationAdd(name, name.encode()) for name in names]\n"
        f"api.create_commit('{REPO}', operations, commit_message='earlier')\n"
    )
    assert command("-c", program, **client_environment(plain_hub)).returncode == 0
    pushed = command(
        "cards/push.py",
        "--run",
        str(quickstart_run),
        "--repo",
        REPO,
        "--publish-base",
        **client_environment(plain_hub),
    )
    assert pushed.returncode == 0, pushed.stderr
    tree = set(plain_hub.store.repos["model", REPO].at("main").tree)
    assert "notes.md" in tree and not {"training_args.bin", "eval/old/predictions.parquet"} & tree
    assert commits(plain_hub, REPO) == ["Publish quickstart-uzbek", "earlier", "initial commit"]


@pytest.mark.slow
def test_a_base_of_this_machine_is_published_only_on_request(
    plain_hub: HubDouble, quickstart_run: Path, short_recipe: Callable[..., Recipe], command: Command, tmp_path: Path
) -> None:
    words = ("-m", "escoita", "push", "--run", str(quickstart_run), "--repo", REPO)
    refused = command(*words, **client_environment(plain_hub))
    bytes_of_base = sum(path.stat().st_size for path in base_files(ROOT / "quickstart/gemma4").values())
    assert refused.returncode == 1 and not plain_hub.store.repos
    for text in (BASE_REPO, "--publish-base", f"{bytes_of_base:,}"):
        assert text in refused.stderr
    shown = command(*words, "--dry-run", **client_environment(plain_hub))
    assert shown.returncode == 0 and f"{bytes_of_base:,}" in shown.stderr and not plain_hub.store.repos
    recipe = short_recipe(f"hub.repo={REPO}")
    recipe.write(tmp_path / "recipe.yaml")
    trained = command(
        "-m", "escoita", "train", str(tmp_path / "recipe.yaml"), "--push", **client_environment(plain_hub)
    )
    assert trained.returncode == 1 and "--publish-base" in trained.stderr and not recipe.run_path.exists()

    done = command(*words, "--publish-base", **client_environment(plain_hub))
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1
    for repo in (REPO, BASE_REPO):
        assert f"{plain_hub.url}/{repo}/commit/" in done.stderr
    assert f"escoita verify {REPO}" in done.stderr and "it/s" not in done.stderr and "Warning" not in done.stderr


def test_the_repository_of_the_base_is_refused(plain_hub: HubDouble, quickstart_run: Path, command: Command) -> None:
    refused = command(
        "cards/push.py", "--run", str(quickstart_run), "--repo", BASE_REPO, **client_environment(plain_hub)
    )
    assert refused.returncode == 1 and BASE_REPO in refused.stderr
    assert not plain_hub.store.repos


def test_a_run_without_an_evaluation_is_refused(
    plain_hub: HubDouble, quickstart_run: Path, command: Command, tmp_path: Path
) -> None:
    shutil.copytree(quickstart_run, tmp_path / "run", ignore=shutil.ignore_patterns("eval"))
    refused = command("cards/push.py", "--run", str(tmp_path / "run"), "--repo", REPO, **client_environment(plain_hub))
    assert refused.returncode == 1 and "results.json: " in refused.stderr
    assert not plain_hub.store.repos


@pytest.mark.slow
def test_pushing_again_without_changes_makes_no_commit(
    plain_hub: HubDouble, quickstart_run: Path, command: Command
) -> None:
    for _ in range(2):
        pushed = command(
            "-m",
            "escoita",
            "push",
            "--run",
            str(quickstart_run),
            "--repo",
            REPO,
            "--publish-base",
            **client_environment(plain_hub),
        )
        assert pushed.returncode == 0, pushed.stderr
    assert len(commits(plain_hub, BASE_REPO)) == 2
    assert len(commits(plain_hub, REPO)) == 2
    uploads = [entry for entry in plain_hub.log if entry[0] == "PUT"]
    assert len(uploads) == len(set(uploads))  # large files are not uploaded again


@pytest.mark.slow
@pytest.mark.parametrize(
    ("repo", "token", "text"),
    [
        (None, "hf_ana", "--repo"),
        ("uzbek", "hf_ana", "uzbek: "),
        (REPO, None, "hf auth login"),
        (REPO, "nonsense", "hf auth login"),
        (REPO, "hf_read_ana", "ana/uzbek: "),
        ("bea/uzbek", "hf_ana", "bea/uzbek: "),
    ],
)
def test_missing_permission_is_reported_before_training(
    plain_hub: HubDouble, short_recipe: Callable[..., Recipe], command: Command, tmp_path: Path, repo, token, text
) -> None:
    recipe = short_recipe()
    recipe.write(tmp_path / "recipe.yaml")
    named = ["--set", f"hub.repo={repo}"] if repo else []
    environment = client_environment(plain_hub, token)
    refused = command("training/sft.py", "--recipe", str(tmp_path / "recipe.yaml"), *named, "--push", **environment)
    assert refused.returncode == 1
    assert text in refused.stderr and len(refused.stderr.strip().splitlines()) == 1
    assert not token or token == "hf_ana" or token not in refused.stderr
    assert not recipe.run_path.exists() and not plain_hub.store.repos


def test_refused_metadata_is_reported_before_training(
    plain_hub: HubDouble, short_recipe: Callable[..., Recipe], command: Command, tmp_path: Path
) -> None:
    recipe = short_recipe(f"hub.repo={REPO}", "base=no/such-model")
    recipe.write(tmp_path / "recipe.yaml")
    refused = command(
        "training/sft.py", "--recipe", str(tmp_path / "recipe.yaml"), "--push", **client_environment(plain_hub)
    )
    assert refused.returncode == 1
    assert "no/such-model: " in refused.stderr
    program = (
        "from escoita.cards.preflight import validate_card\n"
        "from escoita.errors import PublishError\n"
        "try:\n    validate_card('---\\nlanguage: UZ\\n---\\n')\n"
        "except PublishError as error:\n    print(error)\n"
    )
    assert "'UZ'" in command("-c", program, **client_environment(plain_hub)).stdout
    program = program.replace("language: UZ", "base_model: ./base")
    assert command("-c", program, **client_environment(plain_hub)).stdout.startswith("card: ")


def test_a_base_of_the_same_name_with_other_weights_is_refused(
    plain_hub: HubDouble,
    quickstart_run: Path,
    short_recipe: Callable[..., Recipe],
    command: Command,
    tmp_path: Path,
) -> None:
    program = (
        "from huggingface_hub import CommitOperationAdd, HfApi\n"
        f"api = HfApi()\napi.create_repo('{BASE_REPO}')\n"
        "operation = CommitOperationAdd('model.safetensors', b'other' * 1000)\n"
        f"api.create_commit('{BASE_REPO}', [operation], commit_message='other')\n"
    )
    assert command("-c", program, **client_environment(plain_hub)).returncode == 0
    recipe = short_recipe(f"hub.repo={REPO}")
    recipe.write(tmp_path / "recipe.yaml")
    for script, *arguments in (
        ("cards/push.py", "--run", str(quickstart_run), "--repo", REPO, "--publish-base"),
        ("training/sft.py", "--recipe", str(tmp_path / "recipe.yaml"), "--push"),
    ):
        refused = command(script, *arguments, **client_environment(plain_hub))
        assert refused.returncode == 1 and "model.safetensors" in refused.stderr
    assert ("model", REPO) not in plain_hub.store.repos and not recipe.run_path.exists()


def test_an_unreachable_hub_is_reported_in_one_line(quickstart_run: Path, command: Command) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_ana"}
    refused = command("cards/push.py", "--run", str(quickstart_run), "--repo", REPO, "--publish-base", **nowhere)
    assert refused.returncode == 1 and len(refused.stderr.strip().splitlines()) == 1
    assert os.path.isdir(quickstart_run) and "Traceback" not in refused.stderr
