"""What was found, in a terminal or as plain text in a file."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from escoita.utils.visible import visible
from escoita.training.preflight.finding import PUBLISHING, Finding, Mark


STYLES: dict[Mark, str] = {"ok": "green", "warning": "yellow", "refusal": "bold red"}


def print_findings(findings: Iterable[Finding], console: Console | None = None) -> bool:
    """
    Prints findings, each with its mark, what was found, and what to do about it.

    Args:
        findings (`Iterable[Finding]`): In the order in which they are shown.
        console (`Console`, *optional*): Where to; standard output unless given.

    Returns:
        `bool`: None of them is a refusal.
    """
    console = console or Console()
    listed = list(findings)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for finding in listed:
        # Text, never markup: names, prompts and transcripts come from data.
        table.add_row(Text(finding.mark, STYLES[finding.mark]), _body(finding))
    console.print(table)
    marks = [finding.mark for finding in listed]
    refused, warned = marks.count("refusal"), marks.count("warning")
    console.print()
    verdict = "Training would fail." if refused else "Nothing found that would make training fail."
    if refused and all(each.about == PUBLISHING for each in listed if each.mark == "refusal"):
        verdict = "Training would succeed, but publishing would be refused."
    console.print(Text(f"{verdict} {_count(refused, 'refusal')}, {_count(warned, 'warning')}."))
    return not refused


def _body(finding: Finding) -> Text:
    body = Text(f"{visible(finding.about)}: {visible(finding.found)}")
    if finding.advice:
        body.append(f"\n→ {visible(finding.advice)}", "bold")
    for line in finding.details:
        body.append(f"\n{visible(line)}", "dim")
    return body


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
