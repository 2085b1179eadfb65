"""Read the form of a request: a recording, which is written to a file while it arrives, and a few short fields."""

import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from escoita.serve.errors import ApiError, invalid


# The most bytes of the form without the recording, and of the headers of a field.
FORM_BYTES, HEADER_BYTES = 64 * 1024, 8 * 1024
# The most fields of a form.
FIELDS = 32


@dataclass
class Form:
    """
    Store the content of a form.

    Args:
        path (`Path`, *optional*): The file of the recording; `None` if the form has none.
        filename (`str`): The name of the recording that the client sent.
        size (`int`): The size of the recording, in bytes.
        fields (`dict[str, list[str]]`): The values of each other field.
    """

    path: Path | None = None
    filename: str = ""
    size: int = 0
    fields: dict[str, list[str]] = field(default_factory=dict)

    def remove(self) -> None:
        """Delete the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


async def read_form(
    chunks: AsyncIterator[bytes], content_type: str, content_length: str, max_bytes: int, folder: Path | None = None
) -> Form:
    """
    Read a form, and stop as soon as it exceeds a limit.

    Args:
        chunks (`AsyncIterator[bytes]`): The body of the request.
        content_type (`str`): The value of the header Content-Type.
        content_length (`str`): The value of the header Content-Length; empty if the client did not send it.
        max_bytes (`int`): The maximum size of the recording, in bytes.
        folder (`Path`, *optional*): The folder for the file. The default is the system's folder for temporary files.

    Returns:
        [`Form`]: The content, whose file the caller must delete.

    Raises:
        ApiError: The body is not a form, or is too large. The file is then deleted.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise ApiError(415, "Send the recording as multipart/form-data.", "unsupported_media_type")
    if content_length.isdecimal() and int(content_length) > max_bytes + FORM_BYTES:
        raise _too_large(max_bytes)
    reader = _Reader(max_bytes, folder)
    try:
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": reader.begin,
                "on_header_field": reader.header_name,
                "on_header_value": reader.header_value,
                "on_header_end": reader.header_end,
                "on_headers_finished": reader.headers_end,
                "on_part_data": reader.data,
                "on_part_end": reader.end,
                "on_end": reader.finish,
            },
        )
        total = 0
        async for chunk in chunks:
            total += len(chunk)
            if total > max_bytes + FORM_BYTES:
                raise _too_large(max_bytes)
            parser.write(chunk)
        parser.finalize()
        if not reader.finished:
            raise invalid("The form is truncated.", code="invalid_form")
    except BaseException as error:
        reader.close()
        reader.form.remove()
        if isinstance(error, FormParserError):
            raise invalid("The body is not a valid form.", code="invalid_form") from error
        raise
    return reader.form


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(
        413, f"The file is larger than the {max_bytes:,} bytes that this server accepts.", "file_too_large"
    )


class _Reader:
    """Collect the parts of a form from the callbacks of the parser."""

    def __init__(self, max_bytes: int, folder: Path | None):
        self.form, self.finished = Form(), False
        self._max_bytes, self._folder = max_bytes, folder
        self._name, self._file = "", False
        self._header, self._value, self._headers = b"", b"", {b"": b""}
        self._field = bytearray()
        self._open: BinaryIO | None = None
        self._parts = self._small = 0

    def begin(self) -> None:
        self._headers, self._header, self._value = {}, b"", b""
        self._field = bytearray()
        self._parts += 1
        if self._parts > FIELDS:
            raise invalid(f"A form may have at most {FIELDS} fields.", code="invalid_form")

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._limit_headers()

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._limit_headers()

    def header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._file = b"filename" in options or b"filename*" in options
        if not self._file:
            return
        if self._name != "file" or self.form.path is not None:
            raise invalid("Send one file, in the field `file`.", "file")
        self.form.filename = options.get(b"filename", b"").decode("utf-8", "replace") or "the file"
        handle, path = tempfile.mkstemp(prefix="escoita-", dir=self._folder)
        self._open, self.form.path = os.fdopen(handle, "wb"), Path(path)

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._open is not None:
            self.form.size += end - start
            if self.form.size > self._max_bytes:
                raise _too_large(self._max_bytes)
            self._open.write(data[start:end])
            return
        self._small += end - start
        if self._small > FORM_BYTES:
            raise invalid("The fields of the form are too long.", self._name[:100] or None)
        self._field += data[start:end]

    def end(self) -> None:
        if self._open is not None:
            self.close()
            return
        self.form.fields.setdefault(self._name, []).append(self._field.decode("utf-8", "replace"))

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _limit_headers(self) -> None:
        if len(self._header) + len(self._value) > HEADER_BYTES or len(self._headers) > FIELDS:
            raise invalid("The headers of a field are too long.", code="invalid_form")
