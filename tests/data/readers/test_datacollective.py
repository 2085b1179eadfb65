"""
Download releases of Common Voice over HTTP from a double of Mozilla Data Collective.

The double has the requests and answers that the documentation of the service's API describes, and archives in the
layout of its releases. The service itself was not used.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from escoita.data.clips import check_clips
from escoita.data.readers import read_corpus
from escoita.data.readers.base import SelectionError
from escoita.data.readers.datacollective import DamagedDownloadError, ServiceError
from escoita.data.readers.recordings import MemberPathError
from escoita.data.rows import Rejected, Utterances
from escoita.errors import CorpusError
from escoita.recipe.schema import Corpus
from tests.samples import write_clip


KEY = "key-of-ana"
SCRIPTED, SPONTANEOUS, CLOSED = "cmscripted", "cmspontaneous", "cmclosed"
READ = "client_id\tpath\tsentence\tlocale\na1\tcommon_voice_gl_{0}.mp3\tfrase {0}\tgl\n"
SPOKEN = (
    "client_id\taudio_id\taudio_file\tduration_ms\tprompt\ttranscription\tsplit\n"
    "a1\t1\tspontaneous-speech-gl-1.mp3\t500\tQue?\tunha resposta\ttrain\n"
    "a2\t2\tspontaneous-speech-gl-2.mp3\t500\tQue?\toutra resposta\ttest\n"
)


class Service(ThreadingHTTPServer):
    """Serve archives by id; `log` holds the requests with their keys."""

    archives: dict[str, bytes]
    log: list[tuple[str, str, str | None]]
    checksum: str | None = None
    storage: str = ""


class Handler(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""

    def note(self) -> str:
        self.server.log.append((self.command, self.path, self.headers.get("Authorization")))
        return self.path

    def answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        identifier = self.note().split("/")[-2]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.answer(401, b"{}")
        if identifier == CLOSED:
            return self.answer(403, b"{}")
        if identifier not in self.server.archives:
            return self.answer(404, b"{}")
        content = self.server.archives[identifier]
        address = f"{self.server.storage}/storage/{identifier}.tar.gz?signature=s"
        checksum = self.server.checksum or f"sha256:{hashlib.sha256(content).hexdigest()}"
        session = {"downloadUrl": address, "sizeBytes": str(len(content)), "checksum": checksum, "filename": "../a"}
        return self.answer(
            200, json.dumps(session | {"contentType": "application/gzip", "downloadToken": "t"}).encode()
        )

    def do_GET(self) -> None:
        name = self.note().split("/")[-1].partition(".")[0]
        self.answer(200, self.server.archives[name])


def packed(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    clip = write_clip(tmp_path / "clip.mp3").read_bytes()
    folder, spoken = "cv-corpus-23.0-2025-09-05/gl", "sps-corpus-1.0-2025-09-05-gl"
    scripted = {f"{folder}/clips/common_voice_gl_{number}.mp3": clip for number in (1, 2)}
    scripted |= {
        f"{folder}/{split}.tsv": READ.format(number).encode() for number, split in ((1, "train"), (2, "test"))
    }
    spontaneous = {f"{spoken}/audios/spontaneous-speech-gl-{number}.mp3": clip for number in (1, 2)}
    spontaneous |= {f"{spoken}/ss-corpus-gl.tsv": SPOKEN.encode(), f"{spoken}/README.md": b"text"}
    server = Service(("127.0.0.1", 0), Handler)
    server.log = []
    server.archives = {SCRIPTED: packed(scripted), SPONTANEOUS: packed(spontaneous)}
    server.storage = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("MDC_API_URL", f"{server.storage}/api")
    monkeypatch.setenv("MDC_API_KEY", KEY)
    monkeypatch.setenv("ESCOITA_CACHE", str(tmp_path / "cache"))
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def read(identifier: str, split: str | None = None, **keys: Any) -> tuple[Utterances, list[Rejected]]:
    return read_corpus(Corpus(name="voices", path=identifier, reader="datacollective", split=split, **keys), "gl")


def test_a_scripted_release(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, rejected = read(SCRIPTED, "test")
    usable, broken = check_clips(rows, 30.0)
    assert [(row.text, row.speaker, row.split) for row in usable] == [("frase 2", "a1", "test")]
    assert not rejected and not broken
    assert [method for method, *_ in service.log] == ["POST", "GET"]

    monkeypatch.delenv("MDC_API_KEY")
    assert [row.text for row in read(SCRIPTED, "train")[0]] == ["frase 1"] and len(service.log) == 2


def test_a_spontaneous_release_is_read_by_its_column_of_the_split(service: Service) -> None:
    for split, text in (("train", "unha resposta"), ("test", "outra resposta")):
        rows, rejected = read(SPONTANEOUS, split)
        assert [(row.text, row.split, row.duration) for row in rows] == [(text, split, 0.5)] and not rejected
        assert len(check_clips(rows, 30.0)[0]) == 1
    with pytest.raises(SelectionError) as caught:
        read(SPONTANEOUS)
    assert caught.value.key == "split" and caught.value.available == ("test", "train")


def test_the_key_is_sent_to_the_service_only(service: Service) -> None:
    service.storage = service.storage.replace("127.0.0.1", "localhost")
    with pytest.raises(ServiceError):  # another origin must be encrypted
        read(SCRIPTED, "test")
    assert [method for method, *_ in service.log] == ["POST"]


@pytest.mark.parametrize("identifier, key, status", [(CLOSED, KEY, 403), ("cmother", KEY, 404), (SCRIPTED, "x", 401)])
def test_a_refusal_has_a_hint(
    service: Service, monkeypatch: pytest.MonkeyPatch, identifier: str, key: str, status: int
) -> None:
    monkeypatch.setenv("MDC_API_KEY", key)
    with pytest.raises(ServiceError) as caught:
        read(identifier, "test")
    assert (caught.value.status, caught.value.path) == (status, identifier) and caught.value.hint
    assert KEY not in str(caught.value)


def test_without_a_key_nothing_is_requested(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MDC_API_KEY")
    with pytest.raises(ServiceError) as caught:
        read(SCRIPTED, "test")
    assert caught.value.status is None and "MDC_API_KEY" in str(caught.value.hint) and not service.log


def test_another_digest_is_refused_and_nothing_is_kept(service: Service, tmp_path: Path) -> None:
    service.checksum = "sha256:" + "0" * 64
    with pytest.raises(DamagedDownloadError):
        read(SCRIPTED, "test")
    assert not [path for path in (tmp_path / "cache/datacollective").iterdir() if path.suffix != ".lock"]


def test_an_archive_with_a_path_outside_is_refused(service: Service) -> None:
    service.archives[SCRIPTED] = packed({"../train.tsv": b"a"})
    with pytest.raises(MemberPathError):
        read(SCRIPTED, "train")


@pytest.mark.parametrize("identifier", ["../secret", "a/b", "", "https://example.org/a"])
def test_only_an_id_is_requested(service: Service, identifier: str) -> None:
    with pytest.raises(CorpusError) as caught:
        read(identifier, "test")
    assert caught.value.path == identifier and not service.log


def test_another_layout_is_refused(service: Service) -> None:
    service.archives[SCRIPTED] = packed({"folder/train.tsv": b"a"})
    with pytest.raises(CorpusError) as caught:
        read(SCRIPTED, "train")
    assert caught.value.path == SCRIPTED


@pytest.mark.parametrize("content", [b" " * (2 << 20), b"[" * 100_000, b'{"downloadUrl": 5}', b"\x1f\x8b\x08"])
def test_an_answer_of_another_kind_is_refused(
    service: Service, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "do_POST", lambda handler: handler.answer(200, content))
    with pytest.raises(ServiceError):
        read(SCRIPTED, "test")
