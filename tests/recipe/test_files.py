import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from escoita.errors import CorpusError
from escoita.recipe.errors import InvalidRecipeError
from escoita.recipe.files import (
    CARD_AND_PAGE,
    CORPORA,
    files_of_training,
    missing_files,
    refuse_missing_files,
    refuse_missing_manifests,
)
from escoita.recipe.schema import load_recipe
from tests.conftest import ROOT


EVERYTHING = ("base", *CORPORA, *CARD_AND_PAGE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a copy of the quick start's recipe with one misspelled name of each kind."""
    text = (ROOT / "recipes/quickstart-uzbek.yaml").read_text("utf-8")
    for old, new in (
        ("./quickstart/gemma4", "./quickstart/gema4"),
        ("corpus/uz/train.jsonl", "corpus/uz/Trein.jsonl"),
        ("corpus/uz/test.jsonl", "corpus/uzb/test.jsonl"),
        ("card:\n", "card:\n  template: nowhere/card.md.jinja\n"),
        ("test/0014.ogg", "test/0014.wav"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "recipe.yaml").write_text(text, "utf-8")
    return tmp_path / "recipe.yaml"


def line_of(path: Path, part: str) -> int:
    return next(number for number, line in enumerate(path.read_text("utf-8").split("\n"), 1) if part in line)


def test_missing_manifests_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").touch()
    refuse_missing_manifests([tmp_path / "test.jsonl"])
    with pytest.raises(CorpusError) as one:
        refuse_missing_manifests([tmp_path / "test.json"])
    assert one.value.key == "--corpus" and "test.jsonl" in str(one.value.hint)
    with pytest.raises(CorpusError) as two:
        refuse_missing_manifests([tmp_path / name for name in ("a.jsonl", "test.jsonl", "b.jsonl")])
    assert ["a.jsonl" in str(two.value), "b.jsonl" in str(two.value)] == [True, True]


def test_files_of_other_languages_are_found_like_test_corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = yaml.safe_load((ROOT / "recipes/quickstart-uzbek.yaml").read_text("utf-8"))
    corpus = {"name": "spanish", "path": "./es.jsonl", "audio_root": "./talks", "language": "es"}
    text["eval"] = text.get("eval", {}) | {"retention": [corpus]}
    (tmp_path / "project").mkdir()
    path = tmp_path / "project/recipe.yaml"
    path.write_text(yaml.safe_dump(text), "utf-8")
    missing = dict(missing_files(load_recipe(path)))
    assert {("eval", "retention", 0, key) for key in ("path", "audio_root")} <= missing.keys()
    (tmp_path / "project/es.jsonl").touch()
    (tmp_path / "project/talks").mkdir()
    monkeypatch.chdir(tmp_path)
    (retained,) = load_recipe(path).eval.retention
    assert Path(retained.path).is_file() and Path(retained.audio_root or "").is_dir()


def test_all_missing_files_are_named_with_line_key_and_the_similar_name(path: Path) -> None:
    with pytest.raises(InvalidRecipeError) as refused:
        refuse_missing_files(load_recipe(path), path, EVERYTHING)
    found = {mistake.key: (mistake.row, mistake.hint or "") for mistake in refused.value.mistakes}
    assert {key: row for key, (row, _) in found.items()} == {
        "base": line_of(path, "gema4"),
        "corpora.train.0.path": line_of(path, "Trein"),
        "corpora.test.0.path": line_of(path, "uzb/"),
        "card.template": line_of(path, "nowhere"),
        "space.examples.0": line_of(path, "0014.wav"),
    }
    suggested = {key: hint for key, (_, hint) in found.items()}
    assert "gemma4" in suggested["base"] and "train.jsonl" in suggested["corpora.train.0.path"]
    assert "corpus/uz'" in suggested["corpora.test.0.path"] and "0014.ogg" in suggested["space.examples.0"]


def test_files_that_are_needed_later_are_only_mentioned(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = load_recipe(path, ["base=./quickstart/gemma4"])
    with pytest.raises(InvalidRecipeError):
        refuse_missing_files(recipe, path, *files_of_training(recipe))
    refuse_missing_files(recipe, path, ["base"], ["corpora.test"])
    assert "corpora.test.0.path" in capsys.readouterr().err


def test_training_needs_the_test_corpora_only_to_publish(path: Path) -> None:
    recipe = load_recipe(path)
    assert "corpora.test" in files_of_training(recipe)[1] and "corpora.test" in files_of_training(recipe, push=True)[0]
    without = load_recipe(path, ["training.eval_strategy=no"])
    assert "corpora.validation" not in [*files_of_training(without)[0], *files_of_training(without)[1]]


@pytest.mark.parametrize("base", ["google/gemma-4", "gemma", "user/model.v2"])
def test_repositories_and_datasets_of_the_hub_are_not_files(base: str, path: Path) -> None:
    corpus = "{name: a, path: user/data, reader: hub, split: train}"
    recipe = load_recipe(path, [f"base={base}", f"corpora.train=[{corpus}]"])
    keys = [location[:2] for location, _ in missing_files(recipe)]
    assert ("base",) not in keys and ("corpora", "train") not in keys


def test_a_pattern_of_files_is_left_to_its_reader(path: Path) -> None:
    corpus = "{name: a, path: 'data/test-*.parquet', reader: parquet}"
    keys = [location[:2] for location, _ in missing_files(load_recipe(path, [f"corpora.test=[{corpus}]"]))]
    assert ("corpora", "test") not in keys


WITHOUT_TORCH = """
import sys
from escoita.cli.main import app
try:
    app(sys.argv[1:], standalone_mode=False)
except Exception as error:
    print(type(error).__name__, *(name for name in ("torch", "transformers", "datasets") if name in sys.modules))
"""


@pytest.mark.parametrize("command", ["data", "doctor", "train", "eval"])
def test_missing_files_are_reported_before_libraries_are_imported(command: str, path: Path) -> None:
    if command == "eval":
        recipe = yaml.safe_load(path.read_text("utf-8"))
        recipe["corpora"]["test"][0]["path"] = "missing.jsonl"
        path.write_text(yaml.safe_dump(recipe), "utf-8")
    arguments = ["eval", "--run", str(path.parent)] if command == "eval" else [command, str(path)]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ran.stdout.split() == ["InvalidRecipeError"], ran.stderr


def test_a_missing_manifest_is_refused_without_torch() -> None:
    code = (
        "import sys; from escoita.cli.main import main\n"
        "sys.argv = 'escoita eval --base b/b --corpus missing.jsonl --out o --language gl'.split()\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    print(ended.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "1 False" and "missing.jsonl" in done.stderr
