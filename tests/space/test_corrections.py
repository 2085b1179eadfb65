"""Test corrections with the client of the Hub against the Hub double, up to a corpus for training."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import av
import pytest
import soundfile
from huggingface_hub import HfApi, constants

from escoita.recipe.schema import Space
from escoita.space import corrections as corrections_module
from escoita.space.corrections import (
    CARD,
    MANIFEST,
    MAX_CHARACTERS,
    Corrections,
    FeedbackError,
    PublicDatasetError,
    clean_correction,
    open_corrections,
)
from escoita.space.refusals import Refusal
from escoita.space.texts import translate
from tests.hub_double import HubDouble, Repo, serve
from tests.space.stub import CLIP, FORMATS, tone, write_clip


Open = Callable[..., Corrections]
REPO = "ana/corrections"
SETTINGS = Space(feedback=REPO, max_minutes=1)


@pytest.fixture(params=["lfs", pytest.param("xet", marks=pytest.mark.slow)])
def hub(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", request.param == "lfs")
    with serve(tmp_path / "hub", xet=request.param == "xet") as double:
        yield double


@pytest.fixture
def plain_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with serve(tmp_path / "hub") as double:
        yield double


def client(hub: HubDouble, user: str = "ana") -> HfApi:
    return HfApi(endpoint=hub.url, token=f"hf_{user}")


@pytest.fixture
def opened(plain_hub: HubDouble, tmp_path: Path) -> Iterator[Open]:
    """Open stores of corrections that are only uploaded by [`send`]."""
    with ExitStack() as pages:

        def open_page(name: str = "waiting", settings: Space = SETTINGS, user: str = "ana") -> Corrections:
            page = open_corrections(settings, tmp_path / name, "uz", every=600, api=client(plain_hub, user))
            corrections = pages.enter_context(page)
            assert corrections is not None
            while not hasattr(corrections.sender, "last_future"):  # set by its thread at the start
                time.sleep(0.01)
            corrections.sender.last_future.result()
            return corrections

        yield open_page


def send(corrections: Corrections) -> None:
    corrections.sender.trigger().result()


def tree(hub: HubDouble) -> dict[str, bytes]:
    entries = hub.store.repos["dataset", REPO].at("main").tree
    return {name: hub.store.blobs.path(entry.sha256).read_bytes() for name, entry in entries.items()}


def rows(hub: HubDouble) -> list[dict[str, object]]:
    return [json.loads(line) for line in tree(hub)[MANIFEST].decode().splitlines()]


def test_corrections_are_a_corpus_for_training(
    hub: HubDouble, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with open_corrections(SETTINGS, tmp_path / "waiting", "uz", every=600, api=client(hub)) as corrections:
        assert corrections is not None
        corrections.keep(CLIP, " chiroqni\n yoq ", consent=True)
        corrections.keep(str(write_clip(tmp_path / "mine.webm", 2)), "oʻn besh", consent=True)
    assert hub.store.repos["dataset", REPO].private
    assert not list((tmp_path / "waiting").iterdir())
    folder = Path(client(hub).snapshot_download(REPO, repo_type="dataset", local_dir=tmp_path / "corpora/feedback"))
    corpus = f"[{{name: feedback, path: {folder / MANIFEST}}}]"
    done = command(
        "-m", "escoita", "data", "recipes/quickstart-uzbek.yaml", "--set", f"run_dir={tmp_path / 'run'}",
        "--set", f"corpora.train={corpus}", "--set", "corpora.validation=[]",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run/data.json").read_text("utf-8"))
    (feedback,) = [each for each in record["corpora"] if each["name"] == "feedback"]
    assert (feedback["clips"], feedback["rejected"], feedback["words"]) == (2, 0, 4)


@pytest.mark.parametrize("consent", [False, None, "yes", 1])
def test_without_consent_nothing_is_stored_anywhere(
    opened: Open, plain_hub: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, consent: object
) -> None:
    corrections = opened()
    monkeypatch.setattr("escoita.space.corrections.read_recording", lambda *arguments, **limits: pytest.fail("read"))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(Refusal) as caught:
        corrections.keep(CLIP, "salom", consent=cast(bool, consent))
    assert caught.value.text_key == "consent"
    send(corrections)
    assert set(tmp_path.rglob("*")) == before
    assert set(tree(plain_hub)) == {".gitattributes"}


def test_without_a_dataset_nothing_is_stored(tmp_path: Path) -> None:
    with open_corrections(Space(), tmp_path / "waiting", "uz") as corrections:
        assert corrections is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", FORMATS)
def test_file_names_are_not_stored(opened: Open, plain_hub: HubDouble, tmp_path: Path, kind: str) -> None:
    clip = tmp_path / f"Maria Pérez phone.{kind}"
    write_clip(clip)
    corrections = opened()
    corrections.keep(clip, "salom", consent=True)
    send(corrections)
    (row,) = rows(plain_hub)
    assert set(row) == {"audio_filepath", "text", "lang", "duration"} and row["lang"] == "uz"
    assert row["duration"] == pytest.approx(1, abs=0.1)
    assert not any(b"Maria" in content or b"Maria" in name.encode() for name, content in tree(plain_hub).items())


def test_metadata_of_a_recording_is_not_stored(opened: Open, plain_hub: HubDouble, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 44_100, 2) as file:
        file.title, file.artist = "at home", "Maria"
        file.write(tone(2).repeat(2).reshape(-1, 2))
    corrections = opened()
    corrections.keep(tmp_path / "a.flac", "salom", consent=True)
    send(corrections)
    (row,) = rows(plain_hub)
    clip = tmp_path / "sent.flac"
    clip.write_bytes(tree(plain_hub)[str(row["audio_filepath"])])
    with av.open(str(clip)) as container:
        assert not {key.lower() for key in container.metadata} & {"title", "artist"}
    assert (soundfile.info(clip).samplerate, soundfile.info(clip).channels) == (16_000, 1)


def test_rows_of_several_visitors_and_pages_are_appended(opened: Open, plain_hub: HubDouble, tmp_path: Path) -> None:
    here, there = opened("here"), opened("there")
    with ThreadPoolExecutor(8) as visitors:
        list(visitors.map(lambda number: here.keep(CLIP, f"here {number}", consent=True), range(12)))
    send(here)
    there.keep(CLIP, "there", consent=True)
    send(there)
    here.keep(CLIP, "again", consent=True)
    send(here)
    stored = rows(plain_hub)
    assert sorted(str(row["text"]) for row in stored[:12]) == sorted(f"here {number}" for number in range(12))
    assert [row["text"] for row in stored[12:]] == ["there", "again"]
    assert {str(row["audio_filepath"]) for row in stored} == set(tree(plain_hub)) - {MANIFEST, CARD, ".gitattributes"}


def test_a_concurrent_correction_is_not_overwritten(
    opened: Open, plain_hub: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = opened("here"), opened("there")
    here.keep(CLIP, "here", consent=True)
    there.keep(CLIP, "there", consent=True)
    create_commit = here.sender.api.create_commit

    def late(*arguments: Any, **keys: Any) -> object:
        send(there)
        return create_commit(*arguments, **keys)

    monkeypatch.setattr(here.sender.api, "create_commit", late)
    with pytest.raises(OSError, match="412"):
        send(here)
    monkeypatch.undo()
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    send(here)
    assert [row["text"] for row in rows(plain_hub)] == ["there", "here"]


def test_a_commit_without_an_answer_is_not_repeated(opened: Open, plain_hub: HubDouble, tmp_path: Path) -> None:
    corrections = opened()
    corrections.keep(CLIP, "salom", consent=True)
    files = {path: path.read_bytes() for path in (tmp_path / "waiting").iterdir()}
    send(corrections)
    for path, content in files.items():
        path.write_bytes(content)
    send(corrections)
    assert len(rows(plain_hub)) == 1 and not list((tmp_path / "waiting").iterdir())


def test_a_clip_without_a_row_is_deleted(opened: Open, plain_hub: HubDouble, tmp_path: Path) -> None:
    (tmp_path / "waiting").mkdir()
    for name in ("killed.flac", ".half.flac.x1", ".half.json.x2"):
        (tmp_path / "waiting" / name).write_bytes(b"fLaC")
    send(opened())
    assert not list((tmp_path / "waiting").iterdir()) and set(tree(plain_hub)) == {".gitattributes"}


def test_a_failed_correction_writes_no_file(
    opened: Open, plain_hub: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrections = opened()
    write = corrections_module.write_atomically

    def full(path: Path, content: str | bytes) -> None:
        if path.suffix == ".json":
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(corrections_module, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        corrections.keep(CLIP, "salom", consent=True)
    assert not list((tmp_path / "waiting").iterdir())


def test_the_readme_has_the_consent_and_is_written_once(opened: Open, plain_hub: HubDouble, tmp_path: Path) -> None:
    corrections = opened()
    corrections.keep(CLIP, "salom", consent=True)
    send(corrections)
    assert translate("feedback.consent", repo=REPO) in tree(plain_hub)[CARD].decode()
    client(plain_hub).upload_file(path_or_fileobj=b"# Ours\n", path_in_repo=CARD, repo_id=REPO, repo_type="dataset")
    corrections.keep(CLIP, "salom", consent=True)
    send(corrections)
    assert tree(plain_hub)[CARD] == b"# Ours\n" and len(rows(plain_hub)) == 2


def test_a_public_dataset_is_refused_unless_the_recipe_allows_it(
    opened: Open, plain_hub: HubDouble, tmp_path: Path
) -> None:
    plain_hub.store.create(Repo("dataset", REPO), author="ana")
    with pytest.raises(PublicDatasetError) as caught:
        opened()
    assert (caught.value.key, caught.value.value) == ("space.feedback", REPO)
    opened(settings=SETTINGS.model_copy(update={"feedback_private": False}))


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("user", ["bea", "read_ana"])
def test_a_token_without_write_access_is_refused_at_the_start(
    opened: Open, plain_hub: HubDouble, user: str, exists: bool
) -> None:
    if exists:
        plain_hub.store.create(Repo("dataset", REPO, private=True), author="ana")
    with pytest.raises(FeedbackError) as caught:
        opened(user=user)
    assert (caught.value.key, caught.value.value, caught.value.waiting) == ("space.feedback", REPO, None)
    assert "\n" not in str(caught.value) and "hf_" not in str(caught.value)


def test_corrections_are_not_lost_without_the_hub(opened: Open, plain_hub: HubDouble, tmp_path: Path) -> None:
    with (
        pytest.raises(FeedbackError) as caught,
        open_corrections(SETTINGS, tmp_path / "waiting", "uz", every=600, api=client(plain_hub)) as corrections,
    ):
        assert corrections is not None
        corrections.keep(CLIP, "salom", consent=True)
        plain_hub.store.repos.clear()
    assert caught.value.waiting == tmp_path / "waiting"
    assert {path.suffix for path in (tmp_path / "waiting").iterdir()} == {".flac", ".json"}
    send(opened())
    assert [row["text"] for row in rows(plain_hub)] == ["salom"]


def test_waiting_corrections_are_limited(
    opened: Open, plain_hub: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections_module, "MAX_WAITING", 1)
    corrections = opened()
    corrections.keep(CLIP, "salom", consent=True)
    with pytest.raises(Refusal) as caught:
        corrections.keep(CLIP, "salom", consent=True)
    assert caught.value.text_key == "corrections_wait"
    assert len(list((tmp_path / "waiting").iterdir())) == 2


def test_a_bad_recording_is_refused(opened: Open, plain_hub: HubDouble, tmp_path: Path) -> None:
    corrections = opened()

    def refused(recording: Path | None) -> Refusal:
        with pytest.raises(Refusal) as caught:
            corrections.keep(recording, "salom", consent=True)
        return caught.value

    (tmp_path / "letter.wav").write_bytes(b"%PDF-1.7")
    soundfile.write(tmp_path / "silence.wav", 0 * tone(1), 16_000)
    assert (refused(None).text_key, refused(None).path) == ("not_transcribed", None)
    for name, key in (("missing.wav", "deleted"), ("letter.wav", "unreadable"), ("silence.wav", "silence")):
        error = refused(tmp_path / name)
        assert (error.text_key, error.path) == (key, name)
    long = refused(write_clip(tmp_path / "a.wav", 31))
    assert (long.text_key, long.values) == ("long_clip", {"size": "31.0", "limit": "30"})
    assert not list((tmp_path / "waiting").iterdir())


@pytest.mark.parametrize("text", ["", " \n", "…!", "\x00\x1b"])
def test_an_empty_correction_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        clean_correction(text)
    assert caught.value.text_key == "no_text"


def test_a_correction_is_one_line_of_limited_length() -> None:
    assert clean_correction("  oʻn\r\n besh\u2028\x00 ") == "oʻn besh"
    assert len(clean_correction("a" * MAX_CHARACTERS)) == MAX_CHARACTERS
    with pytest.raises(Refusal) as caught:
        clean_correction("a" * (MAX_CHARACTERS + 1))
    assert (caught.value.text_key, caught.value.values) == ("long_text", {"size": 2001, "limit": 2000})
