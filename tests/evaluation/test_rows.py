from pathlib import Path

from escoita.evaluation.presentation import titles_of
from escoita.evaluation.rows import rows
from tests.cards.samples import recipe
from tests.evaluation.report_samples import HALF, REFERENCES, WRONG, evaluated


def test_rows_are_corpora_pool_and_mean(tmp_path: Path) -> None:
    record = evaluated(tmp_path, one={"adapter": HALF, "base": WRONG}, two={"adapter": REFERENCES, "base": HALF})
    titles = titles_of(record, recipe(corpora={"test": [{"name": "one", "path": "a.jsonl", "title": "The one"}]}))
    table = rows(record, titles)
    assert [(row.title, row.clips) for row in table] == [
        ("The one", 30),
        ("two", 30),
        ("All, pooled by words", 60),
        ("Mean of the corpora", None),
    ]
    first, mean = table[0], table[-1]
    assert [each.system for each in first.systems] == ["adapter", "base"]
    assert [each.system for each in first.base_first] == ["base", "adapter"]
    base = first.of("base")
    assert base is not None and base.verdict == "better" and base.difference == record.corpora[0].differences[0]
    assert first.of("whisper") is None and mean.systems[0].rates == record.macro[0]
    assert [row.title for row in rows(evaluated(tmp_path / "single", clips={"base": HALF}))] == ["clips"]
