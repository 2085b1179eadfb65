from pathlib import Path

import pytest
import yaml

from escoita.errors import RecipeError
from escoita.recipe.errors import InvalidRecipeError
from escoita.recipe.schema import Evaluation, Lora, Modules, Recipe, load_recipe
from tests.samples import RECIPE


ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE, "utf-8")
    return path


def test_defaults(path: Path) -> None:
    recipe = load_recipe(path)
    assert isinstance(recipe.method, Lora)
    assert (recipe.method.lora_alpha, recipe.eval.normalizer, recipe.hub.repo) == (16, "uzbek", None)
    assert recipe.run_path == Path("runs/small")
    assert recipe.corpora.validation == [] and recipe.corpora.max_rejected_share == 0.01


@pytest.mark.parametrize("recipe", sorted(ROOT.glob("recipes/*.yaml")), ids=lambda path: path.stem)
def test_recipes_of_the_repository_load(recipe: Path) -> None:
    assert load_recipe(recipe).name == recipe.stem


def test_modules_are_a_method(path: Path) -> None:
    modules = "kind: modules\n  modules: [audio_embed.encoder]"
    path.write_text(RECIPE.replace("r: 4\n  target_modules: .*_proj", modules), "utf-8")
    recipe = load_recipe(path)
    assert isinstance(recipe.method, Modules)
    assert (recipe.method.modules, recipe.method.trainable) == (["audio_embed.encoder"], {"audio": "some"})
    recipe.write(path)
    assert load_recipe(path) == recipe


@pytest.mark.parametrize(
    "content, row",
    [
        ("name: [small", 1),
        ("name: *nobody", 1),
        ("name: a\x00b", None),
        ("[1]: 2", 1),
        ("", None),
        ("- name", None),
        (RECIPE.replace("r: 4", "r: [4"), 6),
    ],
)
def test_a_file_that_is_not_a_yaml_mapping_is_refused(path: Path, content: str, row: int | None) -> None:
    path.write_text(content, "utf-8")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert (error.value.path, error.value.row, error.value.key) == (path, row, None)
    assert not isinstance(error.value, InvalidRecipeError) and "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: cociña".encode("latin-1"))
    for name in ("none.yaml", "latin.yaml", "."):
        with pytest.raises(RecipeError) as error:
            load_recipe(tmp_path / name)
        assert (error.value.path, error.value.row) == (tmp_path / name, None)


def test_overrides_set_nested_values(path: Path) -> None:
    recipe = load_recipe(
        path,
        [
            "method.r=32",
            "training.num_train_epochs=2",
            "training.optim=adamw_torch",
            "hub.repo=user/name",
            "method.trainable.audio=12",
            "card.tags=[a, b]",
            "prompt.system=Listen = hear",
            "eval.base=false",
        ],
    )
    assert isinstance(recipe.method, Lora)
    assert (recipe.method.r, recipe.method.trainable) == (32, {"audio": 12})
    assert recipe.training == {"learning_rate": 0.003, "bf16": False, "num_train_epochs": 2, "optim": "adamw_torch"}
    assert (recipe.hub.repo, recipe.card.tags, recipe.eval.base) == ("user/name", ["a", "b"], False)
    assert recipe.prompt.system == "Listen = hear"


@pytest.mark.parametrize(
    "override",
    ["method.r", "method..r=1", "=1", "name.first=1", "corpora.train.0.name=a", "card.tags=[a"],
)
def test_a_malformed_override_is_refused(path: Path, override: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(path, [override])
    assert (error.value.key, error.value.value) == ("--set", override)


def test_defaults_are_written_out(path: Path, tmp_path: Path) -> None:
    load_recipe(path).write(tmp_path / "resolved.yaml")
    document = yaml.safe_load((tmp_path / "resolved.yaml").read_text("utf-8"))
    assert document.keys() == Recipe.model_fields.keys()
    assert document["eval"].keys() == Evaluation.model_fields.keys()
    assert "base_revision" in document and document["base_revision"] is None


def test_round_trip(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path, ["card.title='yes: \"#1\" – ñ'", "training.optim='1.0e-4'", "run_dir=elsewhere"])
    recipe.write(tmp_path / "new" / "recipe.yaml")
    assert load_recipe(tmp_path / "new" / "recipe.yaml") == recipe
    assert yaml.safe_load((tmp_path / "new" / "recipe.yaml").read_text("utf-8"))["run_dir"] == "elsewhere"


def test_settings_of_the_space(path: Path) -> None:
    assert load_recipe(path).space.languages == ["en", "gl", "uz"]
    assert load_recipe(path, ["space.languages=[gl]"]).space.languages == ["gl"]
    assert load_recipe(path, ["space.feedback=ana/corrections"]).space.feedback == "ana/corrections"


@pytest.mark.parametrize(
    "language, chosen, normalizer",
    [
        ("uz", None, "uzbek"),
        ("uzn", None, "uzbek"),
        ("gl", None, "galician"),
        ("en", None, "unicode"),
        ("hi", None, "unicode"),
        ("tr", None, "unicode-turkic"),
        ("uz-Cyrl", None, "uzbek"),
        ("uz-Arab", None, "unicode"),
        ("yor", "bytes", "bytes"),
        ("uz", "null", "uzbek"),
        ("uz", "raw", "raw"),
        ("en", "basic", "basic"),
    ],
)
def test_the_default_normalizer_depends_on_the_language(
    path: Path, tmp_path: Path, language: str, chosen: str | None, normalizer: str
) -> None:
    path.write_text(path.read_text("utf-8").replace("language: uz", f"language: {language}"), "utf-8")
    recipe = load_recipe(path, [f"eval.normalizer={chosen}"] if chosen else None)
    assert recipe.eval.normalizer == normalizer
    recipe.write(tmp_path / "resolved.yaml")
    assert f"normalizer: {normalizer}" in (tmp_path / "resolved.yaml").read_text("utf-8")
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


def test_retention_needs_the_base_and_unique_names(path: Path) -> None:
    corpus = "{name: NAME, path: a.jsonl, language: es, prompt: {user: Transcribe.}}"
    recipe = load_recipe(path, [f"eval.retention=[{corpus.replace('NAME', 'spanish')}]"])
    (retained,) = recipe.eval.retention
    assert (retained.language, retained.prompt and retained.prompt.user) == ("es", "Transcribe.")
    test = recipe.corpora.test[0].name
    for overrides in ([f"eval.retention=[{corpus.replace('NAME', test)}]"], ["eval.base=false"]):
        with pytest.raises(InvalidRecipeError) as refusal:
            load_recipe(path, [f"eval.retention=[{corpus.replace('NAME', 'spanish')}]", *overrides])
        assert [mistake.key for mistake in refusal.value.mistakes] == ["eval"]


def test_a_baseline_is_a_name_or_a_name_with_settings(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(
        path, ["eval.baselines=[a/whisper, {model: b/whisper, max_new_tokens: 99, num_beams: 5}, {model: c/ctc}]"]
    )
    assert [(each.model, each.max_new_tokens) for each in recipe.eval.baselines] == [
        ("a/whisper", None),
        ("b/whisper", 99),
        ("c/ctc", None),
    ]
    recipe.write(tmp_path / "resolved.yaml")
    assert load_recipe(tmp_path / "resolved.yaml") == recipe
    written = yaml.safe_load((tmp_path / "resolved.yaml").read_text("utf-8"))["eval"]["baselines"]
    assert written == ["a/whisper", {"model": "b/whisper", "max_new_tokens": 99, "num_beams": 5}, "c/ctc"]
