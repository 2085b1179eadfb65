import json
import logging
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from escoita.errors import EscoitaError, OtherBaseError
from escoita.hub import files as resolve
from escoita.hub.failures import hub_error
from escoita.hub.files import combined_digest, possible_digests, weights_digest
from escoita.models import base_model
from escoita.models.base_model import Base, Pin, commit_of, pin_of, resolve_base
from escoita.records.training import AdapterRecord, BaseRecord, Prompt
from tests.cards.samples import training


OLD, NEW = "a" * 40, "b" * 40
FILES = {OLD: {"model.safetensors": "1" * 64}, NEW: {"model.safetensors": "2" * 64}}
DIGESTS = {commit: combined_digest(files) for commit, files in FILES.items()}


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Provide a repository `acme/base` with two commits, and return the list of requested revisions."""
    requested: list[str | None] = []

    def digests(repo: str, revision: str | None = None) -> tuple[str, dict[str, str]]:
        requested.append(revision)
        commit = {None: NEW, "main": NEW, "v1": OLD}.get(revision, revision)
        if repo != "acme/base" or commit not in FILES:
            raise hub_error(OSError("404\nnot there"), repo, value=revision)
        return commit, FILES[commit]

    monkeypatch.setattr(base_model, "hub_digests", digests)
    monkeypatch.setattr(base_model, "_warned", set())
    return requested


def adapter(folder: Path, base: BaseRecord | None = None, revision: object = None, name: str = "acme/base") -> str:
    folder.mkdir(parents=True)
    AdapterRecord(language="gl", prompt=Prompt(user="Escoita."), base=base).write(folder / "escoita.json")
    config = {"base_model_name_or_path": name, "revision": revision}
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return str(folder)


def recorded(commit: str | None = OLD, name: str = "acme/base", digest: str = OLD) -> BaseRecord:
    return BaseRecord(name=name, commit=commit, sha256=DIGESTS[digest])


def write_weights(folder: Path, content: bytes) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(content)
    return str(folder)


def test_commit_of_escoita_json_has_priority(tmp_path: Path) -> None:
    source = adapter(tmp_path / "a", recorded(OLD), revision=NEW)
    assert resolve_base("acme/base", [source], recipe_revision=NEW) == Base("acme/base", OLD, DIGESTS[OLD])


def test_order_of_other_revisions(tmp_path: Path) -> None:
    pinned, without = adapter(tmp_path / "a", revision="v1"), adapter(tmp_path / "b")
    assert resolve_base("acme/base", [pinned], recipe_revision=NEW).revision == OLD
    assert resolve_base("acme/base", [without], recipe_revision="v1").revision == OLD
    assert resolve_base("acme/base", [without]).revision == NEW
    assert resolve_base("acme/base").revision == NEW


def test_given_revision_overrides_all(tmp_path: Path) -> None:
    assert resolve_base("acme/base", [adapter(tmp_path / "a", revision="v1")], "main").revision == NEW


def test_other_weights_are_refused_or_accepted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = adapter(tmp_path / "a", recorded())
    with pytest.raises(OtherBaseError) as refusal:
        resolve_base("acme/base", [source], "main")
    assert (refusal.value.path, refusal.value.expected) == (source, DIGESTS[OLD]) and "\n" not in str(refusal.value)
    base = resolve_base("acme/base", [source], "main", allow_other=True)
    assert (base.revision, base.sha256, base.expected_sha256, base.other) == (NEW, None, DIGESTS[OLD], True)
    assert len(caplog.records) == 1
    assert not resolve_base("acme/base", [source], allow_other=True).other  # nothing to accept


def test_base_folder_with_the_same_weights(tmp_path: Path) -> None:
    folder = write_weights(tmp_path / "base", b"one")
    same = BaseRecord(name="acme/base", commit=OLD, sha256=weights_digest(folder))
    source = adapter(tmp_path / "a", same)
    assert resolve_base(folder, [source]) == Base(folder, None, same.sha256)
    assert resolve_base(folder, [source], recipe_revision="v1").revision is None
    write_weights(tmp_path / "base", b"two")
    with pytest.raises(OtherBaseError):
        resolve_base(folder, [source])
    with pytest.raises(EscoitaError) as error:
        resolve_base(folder, [source], "main")
    assert (error.value.path, error.value.key, error.value.value) == (folder, "--base-revision", "main")


def test_record_of_another_repository_pins_no_revision(tmp_path: Path) -> None:
    source = adapter(tmp_path / "a", recorded(name="acme/mirror"), revision="v1", name="acme/mirror")
    assert pin_of(source, "acme/base") == Pin(None, DIGESTS[OLD])
    with pytest.raises(OtherBaseError):  # the head of main has other weights
        resolve_base("acme/base", [source])


def test_adapter_without_records_gives_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    source = adapter(tmp_path / "a")
    for _ in range(2):
        assert resolve_base("acme/base", [source]) == Base("acme/base", NEW)
    assert len(caplog.records) == 1
    resolve_base("acme/base", [adapter(tmp_path / "b", revision="v1"), adapter(tmp_path / "c", recorded())])
    assert len(caplog.records) == 1


def test_training_record_of_version_0_1_0_is_used(tmp_path: Path) -> None:
    record = training(base="acme/base", base_sha256=DIGESTS[OLD])
    source = adapter(tmp_path / "run/adapter")
    record.write(tmp_path / "run/training.json")
    assert pin_of(source, "acme/base") == Pin(None, DIGESTS[OLD])
    published = adapter(tmp_path / "published", revision="v1")
    record.write(tmp_path / "published/training.json")
    assert resolve_base("acme/base", [published]) == Base("acme/base", OLD, DIGESTS[OLD])
    (tmp_path / "published/training.json").write_text("{}", "utf-8")  # another record
    assert pin_of(published, "acme/base") == Pin("v1", None)


def test_several_adapters_must_have_the_same_base(tmp_path: Path) -> None:
    first, same = adapter(tmp_path / "a", revision="v1"), adapter(tmp_path / "b", recorded())
    other, newer = adapter(tmp_path / "c", revision="v2"), adapter(tmp_path / "d", recorded(NEW, digest=NEW))
    assert resolve_base("acme/base", [first, same]).revision == OLD
    for adapters in ([first, other], [same, newer]):
        with pytest.raises(OtherBaseError):
            resolve_base("acme/base", adapters)
        assert resolve_base("acme/base", adapters, allow_other=True).other


def test_tag_and_commit_are_the_same_base(tmp_path: Path) -> None:
    by_tag, by_commit = adapter(tmp_path / "a", revision="v1"), adapter(tmp_path / "b", revision=OLD)
    for adapters in ([by_tag, by_commit], [by_commit, by_tag]):
        assert resolve_base("acme/base", adapters) == Base("acme/base", OLD)


def test_revision_of_a_folder_gives_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_weights(tmp_path / "base", b"one")
    sources = [adapter(tmp_path / name, revision=name, name=folder) for name in ("v1", "v2")]
    assert resolve_base(folder, sources) == Base(folder)
    assert len(caplog.records) == 2


def test_invalid_digest_in_training_json_is_refused(tmp_path: Path) -> None:
    source = adapter(tmp_path / "a")
    training(base="acme/base", base_sha256="\x1b[31m" + "a" * 59).write(tmp_path / "a/training.json")
    with pytest.raises(EscoitaError) as error:
        resolve_base("acme/base", [source], allow_other=True)
    assert (error.value.path, error.value.key) == (f"{source}/training.json", "base_sha256")


@pytest.mark.parametrize("reached", [False, True])
def test_uncached_file_is_missing_only_without_a_connection(monkeypatch: pytest.MonkeyPatch, reached: bool) -> None:
    def fetch(repo: str, name: str, **_: object) -> str:
        raise OSError("refused") if reached else LocalEntryNotFoundError("not in the cache, and no connection")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    if reached:
        with pytest.raises(EscoitaError):
            pin_of("acme/adapter", "acme/base")
    else:
        assert pin_of("acme/adapter", "acme/base") == Pin()


@pytest.mark.parametrize("revision", ["../../x", "/etc/passwd", 7, {"a": 1}, "a\nb", ""])
def test_invalid_revision_is_refused(tmp_path: Path, revision: object) -> None:
    source = adapter(tmp_path / "a", revision=revision)
    with pytest.raises(EscoitaError) as error:
        resolve_base("acme/base", [source])
    assert (error.value.path, error.value.key) == (f"{source}/adapter_config.json", "revision")


@pytest.mark.parametrize("commit", ["main", "../x", "A" * 40])
def test_invalid_recorded_commit_is_refused(tmp_path: Path, commit: str) -> None:
    source = adapter(tmp_path / "a", recorded())
    path = Path(source) / "escoita.json"
    path.write_text(path.read_text("utf-8").replace(OLD, commit), "utf-8")
    with pytest.raises(EscoitaError):
        resolve_base("acme/base", [source])


def test_missing_base_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> str:
        raise OSError("not in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", nothing)
    with pytest.raises(EscoitaError) as error:
        commit_of("acme/other", "v1")
    assert (error.value.path, error.value.value) == ("acme/other", "v1") and "\n" not in str(error.value)


def test_commit_and_digest_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise hub_error(OSError("no network"), "acme/base")

    write_weights(tmp_path / NEW, b"cached")
    monkeypatch.setattr(base_model, "hub_digests", unreachable)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / NEW))
    digest = weights_digest(str(tmp_path / NEW))
    source = adapter(tmp_path / "a", BaseRecord(name="acme/base", commit=NEW, sha256=digest))
    assert resolve_base("acme/base", [source]) == Base("acme/base", NEW, digest)


def test_digests_come_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_weights(tmp_path / NEW, b"cached")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / NEW))
    hashed = weights_digest("acme/base")
    monkeypatch.setitem(resolve._told, ("acme/base", NEW), FILES[NEW])
    assert weights_digest("acme/base") == DIGESTS[NEW] != hashed


def test_repository_with_duplicate_weights() -> None:
    shards = {f"model-0000{place}-of-00002.safetensors": str(place) * 64 for place in (1, 2)}
    extra = {"consolidated.safetensors": "3" * 64, "model.fp32-00001-of-00001.safetensors": "4" * 64}
    speech = {"speech-lora/adapter_model.safetensors": "5" * 64}
    found = possible_digests(shards | extra | speech)
    assert {combined_digest(shards | extra | speech), combined_digest(shards | speech)} <= found
    assert combined_digest(shards) not in found
