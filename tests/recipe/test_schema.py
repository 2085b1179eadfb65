from pathlib import Path

import pytest
import yaml

from escoita.errors import RecipeError
from escoita.recipe.schema import Evaluation, Lora, Modules, Recipe, load_recipe
from tests.samples import RECIPE


ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE, "utf-8")
    return path


def refusal(path: Path, old: str = "", new: str = "", overrides: list[str] | None = None) -> str:
    """What is said of the recipe with one thing changed; the file's path is cut off."""
    assert old in RECIPE
    path.write_text(RECIPE.replace(old, new, 1), "utf-8")
    with pytest.raises(RecipeError) as error:
        load_recipe(path, overrides)
    return str(error.value).replace(str(path), "")


def test_defaults(path: Path) -> None:
    recipe = load_recipe(path)
    assert isinstance(recipe.method, Lora)
    assert (recipe.method.lora_alpha, recipe.eval.normalizer, recipe.hub.repo) == (16, "uzbek", None)
    assert recipe.run_path == Path("runs/small")
    assert recipe.corpora.validation == [] and recipe.corpora.max_rejected_share == 0.01


@pytest.mark.parametrize("recipe", sorted(ROOT.glob("recipes/*.yaml")), ids=lambda path: path.stem)
def test_recipes_of_the_repository_load(recipe: Path) -> None:
    assert load_recipe(recipe).name == recipe.stem


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("language: uz", "langauge: uz", ":3: langauge: unknown key; did you mean 'language'?"),
        ("  r: 4", "  rank: 4", ":5: method.rank: unknown key"),
        ("  r: 4", "  lora_alhpa: 4", ":5: method.lora_alhpa: unknown key; did you mean 'lora_alpha'?"),
        ("      title:", "      titel:", ":14: corpora.test.0.titel: unknown key; did you mean 'title'?"),
        ("license: cc0-1.0", "licence: cc0-1.0", ":10: corpora.train.0.licence: unknown key; did you mean 'license'?"),
        (
            "license: cc0-1.0",
            "columns: {sound: wav}",
            ":10: corpora.train.0.columns.sound: unknown key; there are 'id', 'audio', 'text', 'language', 'speaker',"
            " 'gender', 'accent', 'offset', 'duration' or 'split'",
        ),
        ("{user:", "{sistem: a, user:", ":7: prompt.sistem: unknown key; did you mean 'system'?"),
    ],
)
def test_an_unknown_key_gets_its_line_and_the_nearest_key(path: Path, old: str, new: str, said: str) -> None:
    assert said in refusal(path, old, new).splitlines()


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("r: 4", "r: four", ":5: method.r: Input should be a valid integer"),
        ("r: 4", "r: 0", ":5: method.r: Input should be greater than 0"),
        (".*_proj", ".*(_proj", ":6: method.target_modules: no regular expression (missing ), unterminated subp"),
        (
            "r: 4",
            "r: 4\n  trainable: {audio: -1}",
            ":6: method.trainable.audio: Input should be greater than or equal",
        ),
        ("r: 4", "r: 4\n  trainable: {audio: many}", ":6: method.trainable.audio: Input should be 'none' or 'some'"),
        (
            "language: uz",
            "language: Uzbek",
            ":3: language: String should match pattern '^[a-z]{2,3}$'; write its code, such as gl",
        ),
        ("language: uz", "language: [uz]", ":3: language: Input should be a valid string"),
        ("name: small", "name: ../small", ":1: name: String should match pattern"),
        ("  test:", "  max_rejected_share: 2\n  test:", ":11: corpora.max_rejected_share: Input should be less than"),
        ("prompt: {user: Please transcribe this audio.}", "prompt: hello", ":7: prompt: Input should be a valid dict"),
        ("title: A small adapter", "title: 3", ":19: card.title: Input should be a valid string"),
        (
            "card:",
            "hub:\n  benchmarks: [{corpus: fleurs, dataset: a/b, task: t}]\ncard:",
            ":18: hub: benchmarks: fleurs is none of corpora.test (clips)",
        ),
    ],
)
def test_a_bad_value_gets_its_line(path: Path, old: str, new: str, said: str) -> None:
    assert any(line.startswith(said) for line in refusal(path, old, new).splitlines())


def test_modules_may_be_trained_whole(path: Path) -> None:
    whole = "kind: modules\n  modules: [audio_embed.encoder]"
    path.write_text(RECIPE.replace("r: 4\n  target_modules: .*_proj", whole), "utf-8")
    recipe = load_recipe(path)
    assert isinstance(recipe.method, Modules)
    assert (recipe.method.modules, recipe.method.trainable) == (["audio_embed.encoder"], {"audio": "some"})
    recipe.write(path)
    assert load_recipe(path) == recipe


@pytest.mark.parametrize(
    "method, said",
    [
        ("kind: modules", ":4: method.modules: Field required"),
        ("kind: modules\n  modules: []", ":6: method.modules: List should have at least 1 item"),
        ("kind: modules\n  modules: [a]\n  r: 4", ":7: method.r: unknown key"),
        ("kind: modules\n  modules: [a]\n  modles: 4", ":7: method.modles: unknown key; did you mean 'modules'?"),
        ("kind: adapters", ":5: method.kind: there are lora, modules"),
        ("kind: [lora]", ":5: method.kind: there are lora, modules"),
    ],
)
def test_a_method_is_refused_by_its_own_keys(path: Path, method: str, said: str) -> None:
    assert any(line.startswith(said) for line in refusal(path, "r: 4\n  target_modules: .*_proj", method).splitlines())


def test_norwegian_must_be_quoted(path: Path) -> None:
    said = refusal(path, "language: uz", "language: no")
    assert said.startswith(":3: language: ") and said.endswith("unless quoted: 'no'")
    path.write_text(RECIPE.replace("language: uz", "language: 'no'"), "utf-8")
    assert load_recipe(path).language == "no"


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("language: uz\n", "", ": language: Field required"),
        ("{user: Please transcribe this audio.}", "{}", ":7: prompt.user: Field required"),
        ("  title: A small adapter\n", "", ":18: card.title: Field required"),
        ("      path: test.jsonl\n", "", ":12: corpora.test.0.path: Field required"),
    ],
)
def test_a_missing_key_is_named_with_its_section(path: Path, old: str, new: str, said: str) -> None:
    assert refusal(path, old, new) == said


def test_every_mistake_is_said_at_once(path: Path) -> None:
    said = refusal(path, "  r: 4\n", "  r: four\n  rank: 4\n").splitlines()
    assert [line.split(":")[1] for line in said] == ["5", "6"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_corpora_of_a_split_have_names_of_their_own(path: Path, split: str) -> None:
    said = refusal(path, f"  {split}:\n", f"  {split}:\n    - {{name: clips, path: more.jsonl}}\n")
    assert f"corpora.{split}: " in said and "the same name" in said


def test_no_corpus_is_called_what_records_call_all_of_them(path: Path) -> None:
    said = refusal(path, "  test:\n    - name: clips\n", "  test:\n    - name: pooled\n")
    assert "corpora.test.0.name: no corpus can be called pooled" in said


@pytest.mark.parametrize(
    "content, said",
    [
        ("name: [small", "not YAML: "),
        ("name: *nobody", "not YAML: "),
        ("name: a\x00b", "not YAML: "),
        ("[1]: 2", "not YAML: "),
        ("", "a recipe is a mapping of keys"),
        ("- name", "a recipe is a mapping of keys"),
    ],
)
def test_what_is_not_a_mapping_is_refused_in_one_line(path: Path, content: str, said: str) -> None:
    path.write_text(content, "utf-8")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert str(error.value).startswith(f"{path}: {said}") and "\n" not in str(error.value)


def test_a_syntax_error_says_where(path: Path) -> None:
    assert "line 5" in refusal(path, "r: 4", "r: [4")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: cociña".encode("latin-1"))
    for name in ("none.yaml", "latin.yaml", "."):
        with pytest.raises(RecipeError, match="cannot be read"):
            load_recipe(tmp_path / name)


def test_set_reaches_nested_values(path: Path) -> None:
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
    "override, said",
    [
        ("method.r", "--set method.r: write section.key=value"),
        ("method..r=1", "--set method..r=1: write section.key=value"),
        ("=1", "--set =1: write section.key=value"),
        ("name.first=1", "--set name.first=1: 'name' is not a section"),
        ("corpora.train.0.name=a", "--set corpora.train.0.name=a: 'train' is not a section"),
        ("card.tags=[a", "--set card.tags=[a: the value is not YAML"),
        ("metod.r=1", ": metod: unknown key; did you mean 'method'?"),
        ("method.r=many", ":5: method.r: Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_a_bad_override_is_refused(path: Path, override: str, said: str) -> None:
    assert refusal(path, overrides=[override]) == said


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


@pytest.mark.parametrize("repo", ["corrections", "ana/", "https://hub/ana/corrections", "ana/corrections/more"])
def test_feedback_goes_to_a_dataset_with_an_owner(path: Path, repo: str) -> None:
    assert "space.feedback: " in refusal(path, overrides=[f"space.feedback={repo}"])
    assert load_recipe(path, ["space.feedback=ana/corrections"]).space.feedback == "ana/corrections"


def test_the_page_speaks_the_languages_it_has_words_for(path: Path) -> None:
    assert load_recipe(path).space.languages == ["en", "gl", "uz"]
    assert load_recipe(path, ["space.languages=[gl]"]).space.languages == ["gl"]
    assert "space.languages" in refusal(path, overrides=["space.languages=[]"])
    assert "space.languages.0" in refusal(path, overrides=["space.languages=[pt]"])


@pytest.mark.parametrize(
    "language, chosen, normalizer",
    [
        ("uz", None, "uzbek"),
        ("uzn", None, "uzbek"),
        ("gl", None, "galician"),
        ("en", None, "raw"),
        ("hi", None, "raw"),
        ("uz", "null", "uzbek"),
        ("uz", "raw", "raw"),
        ("en", "basic", "basic"),
    ],
)
def test_the_normalizer_is_that_of_the_language(
    path: Path, tmp_path: Path, language: str, chosen: str | None, normalizer: str
) -> None:
    path.write_text(path.read_text("utf-8").replace("language: uz", f"language: {language}"), "utf-8")
    recipe = load_recipe(path, [f"eval.normalizer={chosen}"] if chosen else None)
    assert recipe.eval.normalizer == normalizer
    recipe.write(tmp_path / "resolved.yaml")
    assert f"normalizer: {normalizer}" in (tmp_path / "resolved.yaml").read_text("utf-8")
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


def test_a_baseline_is_a_name_or_a_name_with_settings(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path, ["eval.baselines=[a/whisper, {model: b/whisper, max_new_tokens: 99}, {model: c/ctc}]"])
    assert [(each.model, each.max_new_tokens) for each in recipe.eval.baselines] == [
        ("a/whisper", None),
        ("b/whisper", 99),
        ("c/ctc", None),
    ]
    recipe.write(tmp_path / "resolved.yaml")
    assert load_recipe(tmp_path / "resolved.yaml") == recipe
    written = yaml.safe_load((tmp_path / "resolved.yaml").read_text("utf-8"))["eval"]["baselines"]
    assert written == ["a/whisper", {"model": "b/whisper", "max_new_tokens": 99}, "c/ctc"]
    for wrong in ("{model: a, max_new_tokens: 0}", "{modle: a}", "5", "[a]", "{}"):
        with pytest.raises(RecipeError, match=r"eval\.baselines\.0"):
            load_recipe(path, [f"eval.baselines=[{wrong}]"])
