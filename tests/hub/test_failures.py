import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import hf_raise_for_status, httpx

from escoita.hub.failures import TEXTS, HubError, explain_hub_errors, hub_error


SECRET = "hf_" + "a" * 34


@pytest.fixture(autouse=True)
def no_proxy_and_no_token(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("escoita.hub.failures.get_token", lambda: None)
    yield


def answer(status: int, path: str = "/api/models/user/model", **headers: str) -> Exception:
    """Return what huggingface_hub raises for an answer of the Hub."""
    request = httpx.Request("GET", f"https://huggingface.co{path}")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(HfHubHTTPError) as raised:
        hf_raise_for_status(httpx.Response(status, request=request, headers=named))
    return raised.value


def wrapped(inner: Exception, outer: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


FAILURES: list[tuple[str, Any]] = [
    ("gated", lambda: answer(403, X_Error_Code="GatedRepo")),
    ("no repository", lambda: answer(404, X_Error_Code="RepoNotFound")),
    ("no repository", lambda: answer(401)),
    ("no revision", lambda: answer(404, X_Error_Code="RevisionNotFound")),
    ("no file", lambda: answer(404, X_Error_Code="EntryNotFound")),
    ("token missing", lambda: answer(401, X_Error_Message="Invalid credentials in Authorization header")),
    ("token may not write", lambda: answer(403, "/api/repos/create")),
    ("busy", lambda: answer(409, "/api/repos/create")),
    ("changed", lambda: answer(412, "/api/repos/create")),
    ("rate limit", lambda: answer(429, Retry_After="7")),
    ("server", lambda: answer(503)),
    ("refused", lambda: answer(422, "/api/repos/create")),
    ("offline", lambda: wrapped(OfflineModeIsEnabled("no"), LocalEntryNotFoundError("not cached"))),
    ("unreachable", lambda: wrapped(httpx.ConnectError("Name or service not known"), LocalEntryNotFoundError("no"))),
    ("unreachable", lambda: httpx.ReadTimeout("timed out")),
    ("proxy", lambda: httpx.ProxyError("403 Forbidden")),
    ("socks", lambda: ImportError("Using SOCKS proxy, but the 'socksio' package is not installed.")),
    ("certificate", lambda: httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")),
    ("not writable", lambda: PermissionError(errno.EACCES, "Permission denied", "cache/hub")),
    ("proxy", lambda: answer(407)),
    ("proxy", lambda: ValueError("Unknown scheme for proxy URL URL('sock5://proxy')")),
    ("local", lambda: FileNotFoundError(errno.ENOENT, "No such file or directory", "adapter_model.safetensors")),
    ("not writable", lambda: OSError(errno.ENOSPC, "No space left on device", "cache/hub")),
]


@pytest.mark.parametrize("cause, make", FAILURES)
def test_each_cause_is_recognized(cause: str, make: Any) -> None:
    error = hub_error(make(), "user/model")
    assert isinstance(error, HubError) and error.cause == cause and error.path == "user/model"
    assert error.hint and "\n" not in str(error)
    # Transformers wraps the errors of the Hub.
    assert hub_error(wrapped(make(), OSError("cannot load user/model")), "user/model").cause == cause


def test_every_cause_has_a_failure_that_tests_it() -> None:
    untested = set(TEXTS) - {cause for cause, _ in FAILURES}
    assert untested == {"token rejected", "disabled", "invalid name"}


def test_a_token_that_is_set_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escoita.hub.failures.get_token", lambda: SECRET)
    error = hub_error(answer(401, X_Error_Message="Invalid credentials in Authorization header"), "user/model")
    assert error.cause == "token rejected" and error.status == 401 and SECRET not in str(error)


def test_a_gated_base_names_the_page_of_its_terms() -> None:
    error = hub_error(answer(403, "/google/base/resolve/main/config.json", X_Error_Code="GatedRepo"), "google/base@v1")
    assert "https://huggingface.co/google/base " in f"{error.hint} "


def test_the_proxy_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128")
    text = str(hub_error(httpx.ProxyError("407 for http://me:secret@proxy.example:3128"), "user/model"))
    assert "proxy.example:3128" in text and "HTTPS_PROXY" in text and "secret" not in text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    error = hub_error(PermissionError(errno.EACCES, "Permission denied", str(tmp_path)), "user/model")
    assert "Permission denied" in error.problem


def test_rate_limits_say_when_to_try_again() -> None:
    assert "7 s" in str(hub_error(answer(429, Retry_After="7"), "user/model").hint)


def test_an_expired_token_is_no_missing_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escoita.hub.failures.get_token", lambda: SECRET)
    assert hub_error(answer(401, X_Error_Message='User Access Token "ci" is expired'), "u/n").cause == "token rejected"


def test_the_context_names_the_part_and_keeps_the_cause() -> None:
    sent = answer(404, X_Error_Code="RevisionNotFound")
    with pytest.raises(HubError) as raised, explain_hub_errors("u/n", "base", value="v9", key="base_revision"):
        raise sent
    error = raised.value
    assert (error.path, error.key, error.value, error.cause, error.status) == (
        "u/n",
        "base_revision",
        "v9",
        "no revision",
        404,
    )
    assert error.__cause__ is sent


@pytest.mark.parametrize("error", [ValueError("a bug"), ImportError("no module"), KeyError("a bug")])
def test_errors_that_are_not_of_the_hub_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, explain_hub_errors("u/n"):
        raise error
    assert raised.value is error


def test_a_name_may_be_that_of_a_missing_folder(tmp_path: Path) -> None:
    missing = answer(404, X_Error_Code="RepoNotFound")
    texts = {local: hub_error(missing, "u/n", local=local).problem for local in (False, True)}
    assert texts[True].endswith(texts[False]) and texts[True] != texts[False]
    # An error of Transformers about a folder is none of the Hub.
    assert hub_error(OSError("no file named model.safetensors"), str(tmp_path), local=True).cause == "local"


@pytest.mark.parametrize(
    ("kind", "page"), [("dataset", "datasets/user/model"), ("space", "spaces/user/model"), ("base", "user/model")]
)
def test_the_page_of_each_kind_of_repository(kind: str, page: str) -> None:
    assert f"https://huggingface.co/{page}/commits" in str(
        hub_error(answer(404, X_Error_Code="RevisionNotFound"), "u/n", kind).hint
    )


def test_completed_steps_are_part_of_the_problem() -> None:
    assert hub_error(answer(503), "u/n", done="it was created").problem.startswith("it was created")


def test_an_unknown_error_is_quoted_in_one_line() -> None:
    error = hub_error(OSError("odd\nthing"), "user/model")
    assert error.cause == "refused" and error.problem == "odd"
