import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from escoita.serve.errors import ApiError
from escoita.serve.uploads import FORM_BYTES, Form, read_form


BOUNDARY = "multipart/form-data; boundary=edge"


def encoded(content: bytes = b"RIFF", name: str = "clip.wav", **fields: str) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://x/", files={"file": (name, content)}, data=fields)
    return request.read(), request.headers["content-type"]


def read(body: bytes, content_type: str, folder: Path, length: str = "", most: int = 1000, chunk: int = 7) -> Form:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), chunk):
            yield body[start : start + chunk]

    return asyncio.run(read_form(chunks(), content_type, length, most, folder))


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_a_recording_goes_to_a_file_and_fields_are_read(chunk: int, tmp_path: Path) -> None:
    content = bytes(range(256)) + b"\r\n--edge\r\n"
    body, content_type = encoded(content, "kłip.wav", model="m", language="uz")
    form = read(body, content_type, tmp_path, chunk=chunk)
    assert form.path is not None
    assert form.path.read_bytes() == content
    assert (form.size, form.filename, form.fields) == (len(content), "kłip.wav", {"model": ["m"], "language": ["uz"]})
    form.remove()
    assert list(tmp_path.iterdir()) == []


def test_only_this_user_may_read_the_file(tmp_path: Path) -> None:
    form = read(*encoded(), tmp_path)
    assert form.path is not None
    assert form.path.stat().st_mode & 0o077 == 0


def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    with pytest.raises(ApiError) as refused:
        asyncio.run(read_form(chunks(), BOUNDARY, "1000000", 1000, tmp_path))
    assert refused.value.status == 413


def test_an_upload_over_its_declared_length_is_refused_while_it_is_read(tmp_path: Path) -> None:
    taken = 0
    body, content_type = encoded(b"x" * 500_000)

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        for start in range(0, len(body), 1000):
            taken += 1000
            yield body[start : start + 1000]

    with pytest.raises(ApiError) as refused:
        asyncio.run(read_form(chunks(), content_type, "10", 10_000, tmp_path))
    assert refused.value.status == 413
    assert taken < 20_000
    assert list(tmp_path.iterdir()) == []


def part(name: str, content: str, more: str = "") -> str:
    return f'--edge\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{content}\r\n'


FILE = '; filename="a.wav"'


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("x", "application/json", 415),
        ("x", "multipart/form-data", 415),
        ("x", "", 415),
        ("no form", BOUNDARY, 400),
        ("", BOUNDARY, 400),
        (part("file", "abc", FILE), BOUNDARY, 400),  # it ends too early
        (part("other", "abc", FILE) + "--edge--", BOUNDARY, 400),
        (part("file", "abc", FILE) * 2 + "--edge--", BOUNDARY, 400),
        (part("a", "b") * 100 + "--edge--", BOUNDARY, 400),
        (part("a", "b" * (FORM_BYTES + 1)) + "--edge--", BOUNDARY, 400),
        ("--edge\r\n" + "A: " + "x" * 10_000 + "\r\n\r\nb\r\n--edge--", BOUNDARY, 400),
        (part("file", "a" * 1001, FILE) + "--edge--", BOUNDARY, 413),
    ],
)
def test_other_bodies_are_refused_and_leave_no_file(body: str, content_type: str, status: int, tmp_path: Path) -> None:
    with pytest.raises(ApiError) as refused:
        read(body.encode(), content_type, tmp_path, chunk=999)
    assert refused.value.status == status
    assert list(tmp_path.iterdir()) == []


def test_a_boundary_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ApiError) as refused:
        read(b"", f"multipart/form-data; boundary={'x' * 1000}", tmp_path)
    assert refused.value.status == 400
