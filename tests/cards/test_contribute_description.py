from escoita.cards.contribute import description
from escoita.hub.upload import Change
from tests.cards.samples import evaluation, heard, rates, result


FILES = [Change("README.md", "changed", 1), Change("a`b.json", "added", 1), Change("recipe.yaml", "unchanged", 1)]


def record(wer: float, *names: str, normalizer: str = "raw") -> bytes:
    systems = [heard(normalized=rates(wer)), heard("base")]
    made = evaluation(*(result(name, systems) for name in names), normalizer=normalizer)
    return made.model_dump_json(by_alias=True).encode()


def test_rates_before_and_now_stand_beside_each_other() -> None:
    said = description(record(0.5, "clips", "gone"), record(0.25, "clips", "new"), FILES)
    assert "| clips | 1234 | 50.00 % (6.51 to 7.73 %) | 25.00 % (6.51 to 7.73 %) |" in said
    assert "| new | 1234 | – | 25.00 % (6.51 to 7.73 %) |" in said
    assert "| gone | 1234 | 50.00 % (6.51 to 7.73 %) | – |" in said
    assert "| All, pooled by words | 2468 |" in said
    assert "Added: ``a`b.json``." in said and "Changed: `README.md`." in said and "recipe.yaml" not in said


def test_what_was_not_measured_before_has_no_rate() -> None:
    assert "| clips | 1234 | – | 25.00 %" in description(None, record(0.25, "clips"), FILES)


def test_of_one_corpus_the_pool_does_not_say_the_same_again() -> None:
    assert "pooled" not in description(record(0.5, "clips"), record(0.25, "clips"), FILES)
    assert "pooled" in description(record(0.5, "clips"), record(0.25, "new"), FILES)


def test_results_that_cannot_be_compared_are_said_to_be() -> None:
    assert "are of another schema" in description(b'{"schema": 9}', record(0.25, "clips"), FILES)
    other = description(record(0.5, "clips", normalizer="uzbek"), record(0.25, "clips"), FILES)
    assert "under the normaliser `uzbek`, the new ones under `raw`: they cannot be compared" in other
