"""Download a release of Common Voice from Mozilla Data Collective by its id, and read it."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from filelock import FileLock
from pydantic import BaseModel, Field, ValidationError

from escoita.data.readers import common_voice
from escoita.data.readers.base import selection_error
from escoita.data.readers.recordings import AUDIO_SUFFIXES, unpacked
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from escoita.utils.files import cache_folder, convert_write_errors
from escoita.utils.formatting import gigabytes
from escoita.utils.limits import MEBIBYTE
from escoita.utils.processes import say, track


# The variables of the service's own client. A key is read from nowhere else, and is written nowhere.
KEY, API = "MDC_API_KEY", "MDC_API_URL"
DEFAULT_API = "https://mozilladatacollective.com/api"
PAGE = "https://mozilladatacollective.com/datasets"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TIMEOUT = httpx.Timeout(60, connect=20)
# A compressed answer would be read into memory whatever its size.
_PLAIN, _ANSWER_BYTES = {"Accept-Encoding": "identity"}, MEBIBYTE
HINTS = {
    401: f"check {KEY}, which the service does not accept",
    403: "read and accept the terms of the data set at {page}",
    404: "copy the id from the end of the address of the data set",
    429: "wait, because the service limits the number of requests",
}


class ServiceError(CorpusError):
    """
    Report a request that Mozilla Data Collective refused or did not answer.

    Args:
        status (`int`, *optional*): The HTTP status; `None` if there was no answer.
    """

    status: int | None = None


class DamagedDownloadError(CorpusError):
    """Report a download whose size or digest differs from that of the service."""

    problem = "the download is not complete, or has another digest than the service states"
    hint = "try again"


class Session(BaseModel):
    """Represent the answer to the request for a download, as the service's documentation describes it."""

    downloadUrl: str = Field(max_length=10_000)
    sizeBytes: int = Field(gt=0)
    checksum: str | None = Field(None, max_length=200)


def read(corpus: Corpus, language: str) -> tuple[Utterances, list[Rejected]]:
    """
    Read one split of a release of Common Voice, scripted or spontaneous, that is downloaded by its id.

        - name: common-voice
          reader: datacollective
          path: cmn2cyd8901jemm0738nubysq
          split: test

    The archive is downloaded once into the folder `datacollective` of the cache (`$ESCOITA_CACHE`), checked against
    the digest that the service states, and unpacked once; see [`~escoita.data.readers.recordings.unpacked`].
    Afterwards, no key and no network are needed. The folder of the language is read as by the reader `common_voice`.

    Args:
        corpus ([`~escoita.recipe.schema.Corpus`]): The corpus, with the id as `path`, the `split` and, if the archive
            contains several languages, the folder of one as `config`.
        language (`str`): The language of rows that name none.

    Raises:
        ServiceError: There is no key, its user has not accepted the terms, or the service does not answer.
        DamagedDownloadError: The download is not complete.
        CorpusError: The archive is damaged, or has another layout; or the split is not set or not found.
    """
    if not _ID.fullmatch(corpus.path):
        hint = f"use the last part of its address, {PAGE}/ID"
        raise CorpusError("not the id of a data set", path=corpus.path, key="reader", value=corpus.reader, hint=hint)
    root = unpacked(_archive(corpus.path), (*AUDIO_SUFFIXES, ".tsv"))
    return common_voice.read(corpus.model_copy(update={"path": str(_folder(corpus, root)), "config": None}), language)


def _folder(corpus: Corpus, root: Path) -> Path:
    """Return the folder of a language: the one with tables next to `clips` or `audios`."""
    found = {
        each.parent.name: each.parent
        for pattern in ("clips", "audios")
        for each in sorted(root.rglob(pattern))
        if each.is_dir() and any(each.parent.glob("*.tsv"))
    }
    if corpus.config in found:
        return found[corpus.config]
    if corpus.config is None and len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise CorpusError("not a release of Common Voice", path=corpus.path, hint="download and read it as a manifest")
    problem = "not found" if corpus.config else f"required for corpus {corpus.name!r}"
    raise selection_error(problem, sorted(found), corpus.path, "config", corpus.config)


def _archive(identifier: str) -> Path:
    """Return the downloaded archive of a data set."""
    archive = cache_folder() / "datacollective" / f"{identifier}.tar.gz"
    with convert_write_errors(archive):
        archive.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{archive}.lock"):
            if not archive.is_file():
                _download(identifier, archive)
    return archive


def _download(identifier: str, archive: Path) -> None:
    key = os.environ.get(KEY)
    page = f"{PAGE}/{identifier}"
    if not key:
        hint = f"create a key in the settings of your profile, accept the terms at {page}, and set {KEY}"
        raise ServiceError(f"Mozilla Data Collective needs a key, and {KEY} is not set", path=identifier, hint=hint)
    api = os.environ.get(API, DEFAULT_API).rstrip("/")
    secret = {"Authorization": f"Bearer {key}"}
    partial = archive.with_suffix(".partial")
    try:
        # httpx drops the key on redirects to another origin.
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=True) as client:
            with client.stream(
                "POST", f"{api}/datasets/{identifier}/download", headers={**secret, **_PLAIN}, json={}
            ) as answer:
                _refuse_failure(answer, identifier, page)
                session = Session.model_validate_json(_short_body(answer, identifier))
            if urlsplit(session.downloadUrl).scheme != "https" and not _same_origin(session.downloadUrl, api):
                raise ServiceError("the service names an address without encryption", path=identifier)
            say(f"Downloading {identifier} from Mozilla Data Collective: {gigabytes(session.sizeBytes)}")
            # The address is signed, and the key is for the service only.
            headers = secret if _same_origin(session.downloadUrl, api) else {}
            with client.stream("GET", session.downloadUrl, headers=headers) as response:
                _refuse_failure(response, identifier, page)
                _save(response, session, partial, identifier)
    except httpx.HTTPError as error:
        raise ServiceError(f"cannot be downloaded ({error or type(error).__name__})", path=identifier) from error
    except ValidationError as error:
        raise ServiceError("the service sent an unknown answer", path=identifier) from error
    finally:
        partial.unlink(missing_ok=True)


def _save(response: httpx.Response, session: Session, partial: Path, identifier: str) -> None:
    """Write the archive, and move it into place if size and digest are those that the service states."""
    size, digest = 0, hashlib.sha256()
    blocks = -(-session.sizeBytes // MEBIBYTE)
    with partial.open("wb") as file:
        for block in track(_blocks(response), blocks, f"Downloading {identifier}, MiB"):
            size += len(block)
            if size > session.sizeBytes:
                break
            digest.update(block)
            file.write(block)
    kind, _, expected = (session.checksum or "").rpartition(":")
    differs = expected and kind in ("", "sha256") and expected.lower() != digest.hexdigest()
    if size != session.sizeBytes or differs:
        raise DamagedDownloadError(path=identifier)
    partial.replace(partial.with_suffix(".gz"))


def _short_body(response: httpx.Response, identifier: str) -> bytes:
    """Return the body of an answer, which is a short object."""
    body = bytearray()
    for block in response.iter_raw():
        body += block
        if len(body) > _ANSWER_BYTES:
            raise ServiceError("the service sent an unknown answer", path=identifier)
    return bytes(body)


def _blocks(response: httpx.Response) -> Iterator[bytes]:
    yield from response.iter_raw(MEBIBYTE)


def _same_origin(url: str, api: str) -> bool:
    return urlsplit(url)[:2] == urlsplit(api)[:2]


def _refuse_failure(response: Any, identifier: str, page: str) -> None:
    if response.status_code >= 400:
        hint = HINTS.get(response.status_code, "try again later").format(page=page)
        status = response.status_code
        raise ServiceError(f"the service answered with status {status}", path=identifier, status=status, hint=hint)
