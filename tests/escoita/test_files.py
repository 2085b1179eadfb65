from pathlib import Path

import pytest

from escoita.files import public_name, write_atomically


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "record.json"
    write_atomically(path, "ñ")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and [each.name for each in path.parent.iterdir()] == ["record.json"]

    def killed(source: object, target: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "three")
    assert path.read_bytes() == b"two"


@pytest.mark.parametrize(
    "source, shown",
    [("./quickstart/gemma4", "./quickstart/gemma4"), ("google/gemma", "google/gemma"), ("/srv/models/gemma", "gemma")],
)
def test_no_folder_of_this_machine_is_named(source: str, shown: str) -> None:
    assert public_name(source) == shown
