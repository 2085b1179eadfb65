from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.serve.auth import (
    KEYS_VARIABLE,
    ApiKeys,
    is_local,
    read_keys,
    require_local_request,
    require_protection,
)
from escoita.serve.errors import ApiError


KEY, OTHER = "a" * 16, "b" * 24


def test_a_key_is_known_by_its_number_and_nothing_else_is() -> None:
    keys = ApiKeys([KEY, OTHER])
    assert keys.owner(f"Bearer {KEY}") == 0
    assert keys.owner(f"bearer  {OTHER}") == 1
    for wrong in ("", "Bearer", f"Bearer {KEY}x", f"Basic {KEY}", KEY, f"Bearer {KEY},{OTHER}", "Bearer \udcff"):
        assert keys.owner(wrong) is None


def test_keys_are_not_kept(tmp_path: Path) -> None:
    assert KEY not in repr(vars(ApiKeys([KEY])))


def test_keys_of_a_file_and_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{KEY}\n\n{OTHER}\n")
    keys = read_keys(file, {KEYS_VARIABLE: "c" * 20})
    assert keys is not None
    assert (len(keys), keys.owner(f"Bearer {OTHER}"), keys.owner("Bearer " + "c" * 20)) == (2, 1, None)
    keys = read_keys(None, {KEYS_VARIABLE: f"{KEY}, {OTHER}"})
    assert keys is not None
    assert len(keys) == 2
    assert read_keys(None, {}) is None
    assert read_keys(None, {KEYS_VARIABLE: " "}) is None


@pytest.mark.parametrize("content", ["", "# none\n", "short\n", "with a space " + KEY, "ñ" * 20])
def test_a_file_without_usable_keys_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(content, "utf-8")
    with pytest.raises(EscoitaError) as refused:
        read_keys(file)
    assert refused.value.path == str(file)
    assert not content or content.strip() not in str(refused.value)  # no key is printed


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EscoitaError) as refused:
        read_keys(tmp_path / "none")
    assert refused.value.key == "--api-key-file"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LocalHost"])
def test_addresses_of_this_machine_need_no_key(host: str) -> None:
    assert is_local(host)
    require_protection(host, None, no_auth=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org", ""])  # noqa: S104
def test_other_addresses_need_keys_or_a_decision(host: str) -> None:
    with pytest.raises(EscoitaError) as refused:
        require_protection(host, None, no_auth=False)
    assert (refused.value.key, refused.value.value) == ("--host", host)
    require_protection(host, ApiKeys([KEY]), no_auth=False)
    require_protection(host, None, no_auth=True)
    with pytest.raises(EscoitaError) as contradiction:
        require_protection(host, ApiKeys([KEY]), no_auth=True)
    assert contradiction.value.key == "--no-auth"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", None),
        ("evil.example:8000", None),
        ("", None),
        ("127.0.0.1:8000", "https://evil.example"),
        ("localhost", "null"),
    ],
)
def test_pages_of_other_sites_are_refused(host: str, origin: str | None) -> None:
    with pytest.raises(ApiError) as refused:
        require_local_request(host, origin)
    assert refused.value.status == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000"])
def test_programs_of_this_machine_are_let_in(host: str) -> None:
    require_local_request(host, None)
    require_local_request(host, "http://localhost:3000")
