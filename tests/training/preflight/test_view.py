import io

from rich.console import Console

from escoita.training.preflight.checks import Finding
from escoita.training.preflight.report import print_findings


def printed(*findings: Finding) -> tuple[str, bool]:
    text = io.StringIO()
    passed = print_findings(findings, Console(file=text, width=80))
    return text.getvalue(), passed


def test_marks_findings_and_advice_fit_80_columns() -> None:
    text, passed = printed(
        Finding("ok", "GPU", "one of 24 GB"),
        Finding("warning", "disk", "little " * 30, "free some"),
        Finding("ok", "memory", "about 9 GB", details=("base   5 GB", "rest   4 GB")),
    )
    assert max(map(len, text.splitlines())) <= 80
    assert "ok       GPU: one of 24 GB" in text and "→ free some" in text and "base   5 GB" in text
    assert passed and text.rstrip().endswith("0 refusals, 1 warning.")


def test_one_refusal_decides() -> None:
    text, passed = printed(Finding("refusal", "base", "not there", "name another"))
    assert not passed and "Training would fail. 1 refusal, 0 warnings." in text


def test_text_of_a_corpus_is_no_markup_and_moves_nothing() -> None:
    text, _ = printed(Finding("ok", "[bold]name[/bold]", "[red]x[/red] \x1b[2J", "[/]", ("[b]d\u202e",)))
    assert "[bold]name[/bold]: [red]x[/red] <U+001B>[2J" in text and "→ [/]" in text and "[b]d<U+202E>" in text
