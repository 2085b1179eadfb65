"""Test the settings of a Space."""

from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.recipe.schema import Space
from escoita.space.hosted import Hosted, main, read_hosted


def test_settings_are_written_and_read(tmp_path: Path) -> None:
    hosted = Hosted(title="“Uzbek”: a", base="a/b", adapters=["x=a/c"], space=Space(max_minutes=3), proxy_hops=2)
    (tmp_path / "space.yaml").write_text(hosted.to_yaml(), "utf-8")
    assert read_hosted(tmp_path / "space.yaml") == hosted


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("title: [", None),
        ("title: a\nbase: b\nadapters: []", "adapters"),
        ("title: a\nbase: b\nadapters: [c]\nspace: {max_minute: 1}", "space.max_minute"),
        ("", None),
    ],
)
def test_invalid_settings_are_reported_on_one_line(tmp_path: Path, text: str, key: str | None) -> None:
    (tmp_path / "space.yaml").write_text(text, "utf-8")
    with pytest.raises(EscoitaError) as caught:
        read_hosted(tmp_path / "space.yaml")
    assert (caught.value.path, caught.value.key) == ("space.yaml", key)
    assert "\n" not in str(caught.value)


def test_an_error_at_the_start_is_the_exit_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(tmp_path)
    assert str(caught.value.code).startswith("escoita: space.yaml: ")
