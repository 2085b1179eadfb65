"""Test the sandbox process with modules that are written here."""

import os
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.utils.sandbox import SandboxLimitError, limited


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str, seconds: int = 2, memory: int = 1 << 30) -> object:
    (folder / "some_work.py").write_text(code, "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return limited("some_work", {"a": [1, "ñ"]}, "the work", seconds, memory)


def test_json_values_are_passed_and_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, tmp_path, "def respond(request): return [request, None]") == [{"a": [1, "ñ"]}, None]


@pytest.mark.parametrize(
    "code",
    [
        "def respond(request):\n    while True: pass",
        "def respond(request): return len(bytes(4 << 30))",
        "import os\ndef respond(request): os.abort()",
        "from pathlib import Path\ndef respond(request): Path(__file__).with_suffix('.txt').write_text('x')",
        "def respond(request): raise ValueError('ours')",
    ],
    ids=["time", "memory", "abort", "file", "exception"],
)
def test_exceeding_a_limit_and_crashing_raise_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    with pytest.raises(SandboxLimitError) as caught:
        run(monkeypatch, tmp_path, code)
    assert (caught.value.key, caught.value.seconds, caught.value.mebibytes) == ("the work", 2, 1_024)


def test_error_of_the_function_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from escoita.errors import EscoitaError\ndef respond(request): raise EscoitaError('is wrong')"
    with pytest.raises(EscoitaError) as caught:
        run(monkeypatch, tmp_path, code)
    assert (caught.value.key, caught.value.problem) == ("the work", "is wrong")


def test_environment_contains_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of_somebody")
    found = run(monkeypatch, tmp_path, "import os\ndef respond(request): return dict(os.environ)")
    assert "of_somebody" not in str(found) and "HF_TOKEN" not in found  # type: ignore[operator]
