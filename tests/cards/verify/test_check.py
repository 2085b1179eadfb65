"""Test the comparison of documents, cards and lists of digests."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.cards.front_matter import marked
from escoita.cards.verify.adapter import check_rendered_prompt
from escoita.cards.verify.check import MOST_LINES, compared
from escoita.cards.verify.evaluation_settings import evaluation_differences
from escoita.cards.verify.front_matter import check_front, index_entries
from escoita.cards.verify.published_files import check_files
from escoita.cards.verify.recompute import differences
from escoita.cards.verify.text import check_names, check_sections, check_versions, every_block, figures_of, named
from escoita.records.evaluation import Decoding
from escoita.records.training import AdapterRecord, Prompt
from escoita.run_directory import RunDirectory
from tests.cards.samples import evaluation, recipe, result, system, system_result, training
from tests.cards.verifiable_run import write_files
from tests.conftest import ROOT
from tests.models.bases import chat_family_of
from tests.models.test_generic import CASES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_equal_documents_have_no_differences(document: object) -> None:
    assert not list(differences(document, document))


@given(st.integers(-999, 999), st.integers(-999, 999))
def test_another_number_is_one_difference(one: int, other: int) -> None:
    found = list(differences({"corpora": [{"name": "a", "wer": one}]}, {"corpora": [{"name": "a", "wer": other}]}))
    assert found == ([] if one == other else [f"corpora.a.wer: {one} published, {other} recomputed"])


def test_rounding_errors_are_ignored_and_true_is_not_one() -> None:
    assert not list(differences(0.1 + 0.2, 0.3))
    assert list(differences(0.1000001, 0.1)) and list(differences(True, 1.5)) and list(differences([1], [1, 2]))
    assert list(differences({"a": 1}, {})) == ["a: 1 published, nothing recomputed"]


def test_the_number_of_listed_differences_is_limited() -> None:
    check = compared("all", [str(number) for number in range(30)])
    assert len(check.lines) == MOST_LINES + 1 and check.lines[-1] == f"and {30 - MOST_LINES} more"


def test_figures_of_a_text() -> None:
    text = "WER **7.12 %** (−1.5 to 1,234.5), +3, no measurable difference; better than 2e-05 of LoRA r8"
    assert figures_of(text) == ["7.12 %", "−1.5", "1,234.5", "+3", "no measurable difference", "better", "2e-05", "8"]


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_equal_cards_have_no_differences(text: str) -> None:
    card = "# Mine\n" + marked("results", f"WER 1\n{text}\nend")
    assert {check.verdict for check in check_sections(card, card, True)} <= {"holds", "cannot be proven"}
    assert len(every_block(card)) == 1


def test_a_block_without_a_record_and_a_card_without_blocks() -> None:
    made = marked("results", "WER 1 %")
    checks = check_sections(made + marked("more", "WER 0 %"), made, True)
    assert [check.verdict for check in checks if check.what == "card: more"] == ["differs"]
    assert [check.verdict for check in check_sections("# Mine", made, True)] == ["differs"]


def test_names_in_a_card() -> None:
    card = marked(
        "usage", """load("ana/base", adapter='ana/uz') `escoita verify ana/uz` <https://huggingface.co/bea/x>"""
    )
    assert named(card) == ["ana/base", "ana/uz", "ana/uz", "bea/x"]
    assert check_names(card, marked("usage", "nothing"), "ana/uz", "ana/base").lines == [
        "bea/x instead of ana/uz or ana/base"
    ]


def test_versions_are_those_of_the_record() -> None:
    card = marked("provenance", "Framework versions: python 3.11.1, torch 2.13.0+cpu, hf\\_xet 1.8.0.")
    assert check_versions(card, {"python": "3.11.1", "torch": "2.13.0+cpu", "hf_xet": "1.8.0"}).verdict == "holds"
    assert check_versions(card, {"torch": "2.13.0"}).verdict == "differs"
    assert check_versions("", {"torch": "2.13.0"}).verdict == "not checked"


def test_entries_of_an_index_are_distinguished() -> None:
    metric = {"type": "wer", "value": 1, "name": "WER"}
    result = {"dataset": {"type": "a", "args": {"n": [1]}}, "metrics": [metric, metric, metric | {"verified": True}]}
    assert len(index_entries({"model-index": [{"results": [result]}]})) == 3
    assert index_entries({}) == {}


def test_digests_outside_of_the_folder_are_not_computed(tmp_path: Path) -> None:
    inside = hashlib.sha256(b"1").hexdigest()
    write_files(tmp_path, {"outside": b"1", "there/a.md": b"1", "there/training.json": b"{}"})
    (tmp_path / "there/SHA256SUMS").write_text(f"{inside}  ../outside\n{inside}  a.md\nnonsense\n", "utf-8")
    sums = check_files(tmp_path / "there")[0]
    assert [line.rsplit(": ", 1)[0] for line in sums.lines] == ["SHA256SUMS:3", "../outside", "training.json"]
    (tmp_path / "there/SHA256SUMS").unlink()
    assert check_files(tmp_path / "there")[0].verdict == "not checked"


@pytest.mark.parametrize("dataset", ["abc", "7", "[1]", "null", "{}"])
def test_an_invalid_model_index_is_one_difference(dataset: str) -> None:
    """Regression, found by Atheris: a text instead of a dataset raised an unexpected error."""
    results = f"[{{dataset: {dataset}, metrics: [{{type: wer, value: 3}}]}}]"
    card = f"---\nmodel-index: [{{name: x, results: {results}}}]\n---\n\n# Title\n"
    checks = check_front(card, "---\nlanguage: uz\n---\n\n# Title\n")
    (found,) = [check for check in checks if check.what == "model-index"]
    assert found.verdict == "differs"


@pytest.mark.parametrize(
    "limit, recorded, holds",
    [(None, 444, True), (200, 200, True), (600, 444, True), (200, 444, False), (200, None, False), (None, None, True)],
)
def test_a_baseline_has_the_token_limit_that_the_recipe_sets(
    limit: int | None, recorded: int | None, holds: bool
) -> None:
    changed_recipe = recipe(eval={"baselines": [{"model": "a/whisper", "max_new_tokens": limit}]})
    record = evaluation(result(systems=[system_result(), system_result("base"), system_result("whisper")]))
    systems = [*record.systems[:2], system("whisper", base="a/whisper", max_new_tokens=recorded)]
    found = list(evaluation_differences(changed_recipe, record.model_copy(update={"systems": systems})))
    assert any("max_new_tokens of whisper" in line for line in found) is not holds


@pytest.mark.parametrize(
    "settings, beams, holds",
    [
        ({}, (1, 1), True),
        ({"num_beams": 5}, (5, 5), True),
        ({"num_beams": 5}, (5, 1), True),  # such as a CTC model
        ({"num_beams": 5}, (1, 5), False),
        ({}, (1, 5), False),
        ({"baselines": [{"model": "a/whisper", "num_beams": 5}]}, (1, 5), True),
    ],
)
def test_systems_have_the_beams_that_the_recipe_sets(
    settings: dict[str, Any], beams: tuple[int, int], holds: bool
) -> None:
    changed_recipe = recipe(eval={"baselines": ["a/whisper"]} | settings)
    record = evaluation(result(systems=[system_result(), system_result("whisper")]))
    adapter, whisper = (Decoding(num_beams=count) for count in beams)
    systems = [
        record.systems[0].model_copy(update={"decoding": adapter}),
        system("whisper", base="a/whisper", decoding=whisper),
    ]
    found = list(evaluation_differences(changed_recipe, record.model_copy(update={"systems": systems})))
    assert any("num_beams" in line for line in found) is not holds


@pytest.mark.parametrize("name", [*CASES, "gemma4", "phi4"])
@pytest.mark.parametrize("changed", [False, True])
def test_the_prompt_of_every_family_is_rendered_as_in_training_or_not_checked(
    tmp_path: Path, name: str, changed: bool
) -> None:
    base = tmp_path / "base" if name in CASES else ROOT / "quickstart" / name
    if name in CASES:
        CASES[name].write(base)
    family = chat_family_of(str(base))
    processor = family.load_processor(str(base))
    prompt = Prompt(system="", user=CASES[name].user if name in CASES else "Escoita.")
    published = tmp_path / "published"
    family.save_processor(processor, published)
    rendered = family.render(processor, prompt) + "!" * changed
    AdapterRecord(language="gl", prompt=prompt, rendered_prompt=rendered).write(published / "escoita.json")
    found = check_rendered_prompt(RunDirectory(published), training().model_copy(update={"family": family.info.name}))
    main_system = name in ("gemma4", "phi4", "voxtral")  # the other templates are written for the tests
    expected = ("differs" if changed else "holds") if main_system else "cannot be proven"
    assert found.verdict == expected, found


def test_a_record_of_version_0_1_0_has_no_other_primary_metric() -> None:
    record = evaluation()
    assert record.is_of_0_1 and not [line for line in evaluation_differences(recipe(), record) if "primary" in line]
    forged = record.model_copy(update={"primary": "cer"})
    assert [line for line in evaluation_differences(recipe(), forged) if line.startswith("primary: ")]
