"""Work in a process with limits; the modules that it calls are written here."""

import os
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.utils.sandbox import limited


def ask(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str, seconds: int = 2, memory: int = 1 << 30) -> object:
    (folder / "some_work.py").write_text(code, "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return limited("some_work", {"a": [1, "ñ"]}, "the work", seconds, memory)


def test_plain_values_go_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(monkeypatch, tmp_path, "def respond(request): return [request, None]") == [{"a": [1, "ñ"]}, None]


@pytest.mark.parametrize(
    "code, reason",
    [
        ("def respond(request):\n    while True: pass", "takes more than 2 s or 1,024 MiB, or crashes$"),
        ("def respond(request): return len(bytes(4 << 30))", "takes more than 1,024 MiB$"),
        ("import os\ndef respond(request): os.abort()", "crashes$"),
        (
            "from pathlib import Path\ndef respond(request): Path(__file__).with_suffix('.txt').write_text('x')",
            "crashes$",
        ),
        ("def respond(request): raise ValueError('ours')", "crashes$"),
        (
            "from escoita.errors import EscoitaError\ndef respond(request): raise EscoitaError('is wrong')",
            "^the work: is wrong$",
        ),
    ],
)
def test_what_is_over_a_limit_or_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    with pytest.raises(EscoitaError, match=reason):
        ask(monkeypatch, tmp_path, code)


def test_no_token_is_in_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of_somebody")
    found = ask(monkeypatch, tmp_path, "import os\ndef respond(request): return dict(os.environ)")
    assert "of_somebody" not in str(found) and "HF_TOKEN" not in found  # type: ignore[operator]
