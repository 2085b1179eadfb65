"""What a Space reads of itself."""

import re
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.recipe.schema import Space
from escoita.space.hosted import Hosted, main, read_hosted


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    hosted = Hosted(title="“Uzbek”: a", base="a/b", adapters=["x=a/c"], space=Space(max_minutes=3), proxy_hops=2)
    (tmp_path / "space.yaml").write_text(hosted.to_yaml(), "utf-8")
    assert read_hosted(tmp_path / "space.yaml") == hosted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: [", "space.yaml: cannot be read"),
        ("title: a\nbase: b\nadapters: []", "space.yaml: adapters: List should have at least 1 item"),
        ("title: a\nbase: b\nadapters: [c]\nspace: {max_minute: 1}", "space.yaml: space.max_minute: Extra inputs"),
        ("", "space.yaml: : Input should be"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "space.yaml").write_text(text, "utf-8")
    with pytest.raises(EscoitaError, match=f"^{re.escape(message)}"):
        read_hosted(tmp_path / "space.yaml")


def test_a_space_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^escoita: space\.yaml: cannot be read"):
        main(tmp_path)
