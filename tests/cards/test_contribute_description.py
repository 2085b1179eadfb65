from escoita.cards.contribute import description
from escoita.hub.upload import Change
from tests.cards.samples import evaluation, rates, result, system_result


FILES = [Change("README.md", "changed", 1), Change("a`b.json", "added", 1), Change("recipe.yaml", "unchanged", 1)]


def record(wer: float, *names: str, normalizer: str = "raw") -> bytes:
    systems = [system_result(normalized=rates(wer)), system_result("base")]
    made = evaluation(*(result(name, systems) for name in names), normalizer=normalizer)
    return made.model_dump_json(by_alias=True).encode()


def test_previous_and_new_rates_are_in_one_table() -> None:
    text = description(record(0.5, "clips", "gone"), record(0.25, "clips", "new"), FILES)
    assert "| clips | 1234 | 50.00 % (6.51 to 7.73 %) | 25.00 % (6.51 to 7.73 %) |" in text
    assert "| new | 1234 | – | 25.00 % (6.51 to 7.73 %) |" in text
    assert "| gone | 1234 | 50.00 % (6.51 to 7.73 %) | – |" in text
    assert "| All, pooled by words | 2468 |" in text
    assert "Added: ``a`b.json``." in text and "Changed: `README.md`." in text and "recipe.yaml" not in text


def test_new_corpus_has_no_previous_rate() -> None:
    assert "| clips | 1234 | – | 25.00 %" in description(None, record(0.25, "clips"), FILES)


def test_one_corpus_has_no_pooled_row() -> None:
    assert "pooled" not in description(record(0.5, "clips"), record(0.25, "clips"), FILES)
    assert "pooled" in description(record(0.5, "clips"), record(0.25, "new"), FILES)


def test_results_that_are_not_comparable_have_a_note() -> None:
    assert "schema" in description(b'{"schema": 9}', record(0.25, "clips"), FILES)
    other = description(record(0.5, "clips", normalizer="uzbek"), record(0.25, "clips"), FILES)
    assert other.index("`uzbek`") < other.index("`raw`")
