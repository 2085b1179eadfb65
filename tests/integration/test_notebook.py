"""
Execute the notebook with a tiny base, FLEURS and a repository on the Hub double.

Only the cell of the settings is replaced, as a user would do, and the tiny Whisper has the name of the published one.
"""

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from huggingface_hub import HfApi
from nbclient import NotebookClient

from escoita.recipe.schema import FLEURS, Lora, load_recipe
from tests.conftest import ROOT
from tests.hub_double import HubDouble, serve
from tests.integration.test_recipes import fleurs
from tests.models.samples import write_whisper


NOTEBOOK = ROOT / "notebooks/finetune.ipynb"
BASE, REPOSITORY = "openai/whisper-small", "ana/notebook"
SETTINGS = f"""\
BASE, LANGUAGE, NAME, EPOCHS, REPOSITORY = "{BASE}", "gl", "my-adapter", 1, "{REPOSITORY}"
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    write_whisper(tmp_path / "base", positions=64, learns=True)
    with serve(tmp_path / "hub", xet=True) as double:
        HfApi(endpoint=double.url, token="hf_google").create_repo(FLEURS, repo_type="dataset")
        files = {f"data/gl_es/{path}": content for path, content in fleurs("gl").items()}
        double.commit(FLEURS, files, "Add Galician", "dataset")
        openai = HfApi(endpoint=double.url, token="hf_openai")
        openai.create_repo(BASE)
        openai.upload_folder(repo_id=BASE, folder_path=tmp_path / "base")
        yield double


def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_valid_and_has_no_output() -> None:
    found = notebook()
    nbformat.validate(found)
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    assert code and not any(cell.outputs or cell.execution_count for cell in code)
    (settings,) = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    defaults: dict[str, object] = {}
    exec(settings.source, defaults)  # noqa: S102  a cell of this repository
    assert defaults["BASE"] == BASE and defaults["REPOSITORY"] == ""


@pytest.mark.slow
def test_the_notebook_trains_evaluates_and_publishes(
    hub: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "hf_ana",
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    executed = notebook()
    next(cell for cell in executed.cells if "parameters" in cell.metadata.get("tags", [])).source = SETTINGS
    NotebookClient(executed, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    run = load_recipe(tmp_path / "runs/my-adapter/recipe.yaml", search=False)
    assert isinstance(run.method, Lora) and run.method.target_modules and run.training["learning_rate"] > 0
    commits = {corpus.revision for corpus in (*run.corpora.train, *run.corpora.validation, *run.corpora.test)}
    assert len(commits) == 1 and None not in commits
    published = {file.rfilename for file in HfApi(endpoint=hub.url).model_info(REPOSITORY).siblings or []}
    assert {"README.md", "recipe.yaml", "adapter_model.safetensors", "eval/results.json"} <= published
