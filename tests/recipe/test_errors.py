from pathlib import Path

import pytest

from escoita.recipe.errors import InvalidRecipeError, Mistake
from escoita.recipe.schema import load_recipe
from tests.samples import RECIPE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "small.yaml"


def mistakes(path: Path, old: str = "", new: str = "", overrides: list[str] | None = None) -> tuple[Mistake, ...]:
    """Return the mistakes in the recipe after one change."""
    assert old in RECIPE
    path.write_text(RECIPE.replace(old, new, 1), "utf-8")
    with pytest.raises(InvalidRecipeError) as error:
        load_recipe(path, overrides)
    assert all(mistake.path == path for mistake in error.value.mistakes)
    assert str(error.value) == "\n".join(map(str, error.value.mistakes))
    return error.value.mistakes


@pytest.mark.parametrize(
    "old, new, row, key, suggestion",
    [
        ("language: uz", "langauge: uz", 3, "langauge", "'language'"),
        ("  r: 4", "  rank: 4", 5, "method.rank", ""),
        ("  r: 4", "  lora_alhpa: 4", 5, "method.lora_alhpa", "'lora_alpha'"),
        ("      title:", "      titel:", 14, "corpora.test.0.titel", "'title'"),
        ("license: cc0-1.0", "licence: cc0-1.0", 10, "corpora.train.0.licence", "'license'"),
        ("license: cc0-1.0", "columns: {sound: wav}", 10, "corpora.train.0.columns.sound", "'duration' or 'split'"),
        ("{user:", "{sistem: a, user:", 7, "prompt.sistem", "'system'"),
    ],
)
def test_an_unknown_key_has_its_line_and_the_most_similar_key(
    path: Path, old: str, new: str, row: int, key: str, suggestion: str
) -> None:
    (found,) = [each for each in mistakes(path, old, new) if each.key == key]
    assert found.row == row and suggestion in f"{found.problem} {found.hint}"


@pytest.mark.parametrize(
    "old, new, row, key",
    [
        ("r: 4", "r: four", 5, "method.r"),
        ("r: 4", "r: 0", 5, "method.r"),
        (".*_proj", ".*(_proj", 6, "method.target_modules"),
        ("r: 4", "r: 4\n  trainable: {audio: -1}", 6, "method.trainable.audio"),
        ("r: 4", "r: 4\n  trainable: {audio: many}", 6, "method.trainable.audio"),
        ("language: uz", "language: Uzbek", 3, "language"),
        ("language: uz", "language: [uz]", 3, "language"),
        ("name: small", "name: ../small", 1, "name"),
        ("  test:", "  max_rejected_share: 2\n  test:", 11, "corpora.max_rejected_share"),
        ("prompt: {user: Please transcribe this audio.}", "prompt: hello", 7, "prompt"),
        ("title: A small adapter", "title: 3", 19, "card.title"),
        ("card:", "hub:\n  benchmarks: [{corpus: fleurs, dataset: a/b, task: t}]\ncard:", 18, "hub"),
        ("  train:\n", "  train:\n    - {name: clips, path: more.jsonl}\n", 9, "corpora.train"),
        ("  test:\n", "  test:\n    - {name: clips, path: more.jsonl}\n", 11, "corpora.test"),
        ("  test:\n    - name: clips\n", "  test:\n    - name: pooled\n", 12, "corpora.test.0.name"),
        ("  test:\n    - name: clips\n", "  test:\n    - name: probes\n", 12, "corpora.test.0.name"),
    ],
)
def test_an_invalid_value_has_its_line_and_key(path: Path, old: str, new: str, row: int, key: str) -> None:
    assert (row, key) in [(each.row, each.key) for each in mistakes(path, old, new)]


@pytest.mark.parametrize(
    "method, row, key",
    [
        ("kind: modules\n  modules: []", 6, "method.modules"),
        ("kind: modules\n  modules: [a]\n  r: 4", 7, "method.r"),
        ("kind: modules\n  modules: [a]\n  modles: 4", 7, "method.modles"),
        ("kind: adapters", 5, "method.kind"),
        ("kind: [lora]", 5, "method.kind"),
    ],
)
def test_the_keys_of_a_method_are_those_of_its_kind(path: Path, method: str, row: int, key: str) -> None:
    found = mistakes(path, "r: 4\n  target_modules: .*_proj", method)
    assert (row, key) in [(each.row, each.key) for each in found]


def test_norwegian_must_be_quoted(path: Path) -> None:
    (found,) = mistakes(path, "language: uz", "language: no")
    assert (found.row, found.key) == (3, "language") and "'no'" in str(found.hint)
    path.write_text(RECIPE.replace("language: uz", "language: 'no'"), "utf-8")
    assert load_recipe(path).language == "no"


@pytest.mark.parametrize(
    "old, new, row, key",
    [
        ("language: uz\n", "", None, "language"),
        ("{user: Please transcribe this audio.}", "{}", 7, "prompt.user"),
        ("  title: A small adapter\n", "", 18, "card.title"),
        ("      path: test.jsonl\n", "", 12, "corpora.test.0.path"),
    ],
)
def test_a_missing_key_has_the_line_of_its_section(path: Path, old: str, new: str, row: int | None, key: str) -> None:
    assert [(each.row, each.key) for each in mistakes(path, old, new)] == [(row, key)]


def test_all_mistakes_are_reported_together(path: Path) -> None:
    assert [each.row for each in mistakes(path, "  r: 4\n", "  r: four\n  rank: 4\n")] == [5, 6]


@pytest.mark.parametrize(
    "override, row, key",
    [
        ("metod.r=1", None, "metod"),
        ("method.r=many", 5, "method.r"),
        ("space.feedback=corrections", None, "space.feedback"),
        ("space.feedback=ana/", None, "space.feedback"),
        ("space.feedback=https://hub/ana/corrections", None, "space.feedback"),
        ("space.feedback=ana/corrections/more", None, "space.feedback"),
        ("space.languages=[]", None, "space.languages"),
        ("space.languages=[pt]", None, "space.languages.0"),
        ("eval.baselines=[{model: a, max_new_tokens: 0}]", None, "eval.baselines.0.max_new_tokens"),
        ("eval.baselines=[{modle: a}]", None, "eval.baselines.0.model"),
        ("eval.baselines=[5]", None, "eval.baselines.0"),
        ("eval.retention=[{name: other, path: a.jsonl}]", None, "eval.retention.0.language"),
        ("eval.baselines=[[a]]", None, "eval.baselines.0"),
        ("eval.baselines=[{}]", None, "eval.baselines.0.model"),
    ],
)
def test_an_invalid_override_has_its_key(path: Path, override: str, row: int | None, key: str) -> None:
    assert (row, key) in [(each.row, each.key) for each in mistakes(path, overrides=[override])]


@pytest.mark.parametrize(
    "old, new, key, row",
    [
        ("language: uz", "language: uz\nlanguage: gl", "language", 4),
        ("  r: 4", "  r: 4\n  r: 8", "method.r", 6),
        ("license: cc0-1.0", "license: cc0-1.0,\n license: mit", "corpora.train.0.license", 11),
    ],
)
def test_a_repeated_key_is_refused_with_both_lines(path: Path, old: str, new: str, key: str, row: int) -> None:
    (mistake,) = mistakes(path, old, new)
    assert (mistake.row, mistake.key) == (row, key) and str(row - 1) in mistake.problem


def test_a_mistake_is_one_line_with_its_place() -> None:
    mistake = Mistake(Path("a.yaml"), 3, "method.r", "not a number")
    assert str(mistake) == "a.yaml:3: method.r: not a number"
    assert str(Mistake(Path("a.yaml"), None, "r", "missing")) == "a.yaml: r: missing"
