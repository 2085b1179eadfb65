"""Test the checks of `verify` for signatures: the signer, later changes, and invalid signatures."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from escoita.cards import signature as signatures
from escoita.cards.front_matter import blocks, made, made_mark, marked
from escoita.cards.publication import checksums
from escoita.cards.signature import LARGEST_SIGNATURE, PUBLIC_KEY, SECTIONS, SIGNATURE, fingerprint
from escoita.cards.signing import Key, require_signer, with_signature
from escoita.cards.verify import verify as module
from escoita.cards.verify.check import Check
from escoita.cards.verify.signature import Signer, check_signature, required_signer
from escoita.cards.verify.verify import passed, verify
from escoita.errors import PublishError
from escoita.evaluation.aggregate import score
from escoita.evaluation.report.plots import drawings
from escoita.hub.upload import CommitPlan, Head
from escoita.utils.files import sha256
from tests.cards.publishing import BASE, REPO
from tests.cards.signers import write_key
from tests.cards.verifiable_run import WEIGHTS, make_verifiable_run, published, with_record, write_files
from tests.hub_double import Repo, serve


Files = dict[str, bytes]
CARD, RESULTS = "README.md", "eval/results.json"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Key, Key]:
    folder = tmp_path_factory.mktemp("keys")
    first, second = (require_signer(str(write_key(folder / name))) for name in ("first.pem", "second.pem"))
    assert first and second
    return first, second


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    return published(make_verifiable_run(tmp_path_factory.mktemp("open") / "run"))


def signed(files: Mapping[str, bytes], key: Key) -> Files:
    plan = with_signature(CommitPlan(files, "Publish"), Head(), key, REPO)
    return {name: content for name, content in plan.files.items() if isinstance(content, bytes)}


@pytest.fixture
def files(unsigned: Mapping[str, bytes], keys: tuple[Key, Key]) -> Files:
    return signed(unsigned, keys[0])


@pytest.fixture
def checked(tmp_path: Path) -> Callable[..., Check]:
    def check(files: Mapping[str, bytes], required: Signer | None = None) -> Check:
        return check_signature(write_files(tmp_path / "published", files), required)

    return check


def test_signed_files_are_verified_over_http_with_the_signer(
    files: Files, keys: tuple[Key, Key], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(tmp_path / "hub") as double:
        monkeypatch.setattr(module, "HfApi", partial(HfApi, endpoint=double.url, token=False))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        for repo in (BASE, REPO):
            double.store.create(Repo("model", repo), author="ana")
        double.commit(BASE, {"model.safetensors": WEIGHTS["base"]}, "The base")
        double.commit(REPO, files, "Publish")
        checks = verify(REPO, score, drawings, signer=Signer(fingerprint(keys[0].public)))
        assert passed(checks)
        (check,) = (check for check in checks if check.what == "signature")
        assert check.verdict == "holds" and fingerprint(keys[0].public) in check.lines[0]

        # A record that was edited without the key, with new digests, and the card of it.
        double.commit(REPO, {RESULTS: with_record(files, wer=0.05)}, "Edited")
        checks = verify(REPO, score, drawings)
        differing = {check.what: check.lines for check in checks if check.verdict == "differs"}
        assert any(line.startswith(f"{RESULTS}: changed ") for line in differing["signature"])
        assert any("0.05 published, 0.1 recomputed" in line for line in differing[RESULTS])


def test_an_unsigned_repository_fails_only_if_a_signer_is_required(
    unsigned: Files, keys: tuple[Key, Key], checked: Callable[..., Check]
) -> None:
    assert checked(unsigned).verdict == "cannot be proven"
    assert checked(unsigned, Signer(fingerprint(keys[0].public))).verdict == "differs"


def test_another_signer_than_the_required_one_differs(
    unsigned: Files, keys: tuple[Key, Key], checked: Callable[..., Check]
) -> None:
    first, second = (Signer(fingerprint(key.public)) for key in keys)
    again = signed(unsigned, keys[1])
    assert checked(again, second).verdict == "holds"
    check = checked(again, first)
    assert check.verdict == "differs" and first.name in check.lines[0] and second.name in check.lines[0]
    assert checked(again, Signer("https://github.com/ana/train", "https://issuer")).verdict == "differs"


def edited_card(change: Callable[[str], str]) -> Callable[[Files], None]:
    def edit(files: Files) -> None:
        before = files[CARD].decode()
        files[CARD] = change(before).encode()
        assert files[CARD] != before.encode()

    return edit


def forged_section(card: str) -> str:
    """Change a figure of a section, and update the digests in its mark and in the last mark."""
    block = next(block for block in blocks(card) if block.name == "results")
    text = block.text.replace("10.00 %", "1.00 %")
    card = card[: block.start] + marked("results", text) + card[block.end :]
    last = made(card)
    forged = re.search(r"begin results ([0-9a-f]{12})", card)
    assert last and forged
    return card[: last.start] + made_mark(last.digests | {"results": forged[1]}) + "\n"


def with_new_section(card: str) -> str:
    last = made(card)
    assert last
    text = marked("praise", "Better than all others: 0.00 %.")
    new = re.search(r"begin praise ([0-9a-f]{12})", text)
    assert new
    return card[: last.start] + text + "\n" + made_mark(last.digests | {"praise": new[1]}) + "\n"


def without_section(card: str) -> str:
    block = next(block for block in blocks(card) if block.name == "results")
    return card[: block.start] + card[block.end :]


def added(name: str, content: bytes = b"{}") -> Callable[[Files], None]:
    return lambda files: files.update({name: content})


def removed(name: str) -> Callable[[Files], None]:
    def remove(files: Files) -> None:
        del files[name]

    return remove


OTHER_KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
"""


HOLDS: dict[str, Callable[[Files], None]] = {
    "the author's text": edited_card(
        lambda card: card.replace("<!-- escoita:begin results", "Mine.\n\n<!-- escoita:begin results")
    ),
    "a tag of the author": edited_card(lambda card: card.replace("tags:\n", "tags:\n- mine\n")),
    "a key of the author": edited_card(lambda card: card.replace("license:", "mine: 1\nlicense:", 1)),
    "names that JSON cannot sort": edited_card(
        lambda card: card.replace("license:", "mine: {1: a, b: c, 2020-01-01: d}\nlicense:", 1)
    ),
    "line ends": edited_card(lambda card: card.replace("\n", "\r\n")),
    ".gitattributes": added(".gitattributes", b"* text"),
    "an image of the author": added("photo.png", b"png"),
}
DIFFERS: dict[str, tuple[Callable[[Files], None], str]] = {
    "a record": (lambda files: files.update({RESULTS: with_record(files, wer=0.05)}), f"{RESULTS}: changed"),
    "weights": (added("adapter_model.safetensors", b"other"), "adapter_model.safetensors: changed"),
    "a removed file": (removed("data.json"), "data.json: removed"),
    "a vocabulary besides": (added("tokenizer.model", b"other"), "tokenizer.model: not signed"),
    "weights besides": (added("model.safetensors", b"other"), "model.safetensors: not signed"),
    "predictions besides": (
        added("eval/more/predictions.parquet", b"x"),
        "eval/more/predictions.parquet: not signed",
    ),
    "digests of the parts": (
        lambda files: files.update({SECTIONS: files[SECTIONS] + b"x"}),
        f"{SECTIONS}: changed",
    ),
    "no digests of the parts": (removed(SECTIONS), f"{SECTIONS}: removed"),
    "a figure in a section": (
        edited_card(lambda card: card.replace("10.00 %", "1.00 %")),
        f"{CARD}, section results: changed",
    ),
    "a forged section": (edited_card(forged_section), f"{CARD}, section results: changed"),
    "a new section": (edited_card(with_new_section), f"{CARD}, section praise: not signed"),
    "a section taken out": (edited_card(without_section), f"{CARD}, section results: removed"),
    "the license": (
        edited_card(lambda card: re.sub("license: .*", "license: mit", card)),
        f'{CARD}, front "license": changed',
    ),
    "a tag taken out": (
        edited_card(lambda card: card.replace("- speech\n", "", 1)),
        f'{CARD}, tag "speech": removed',
    ),
    "no signature": (removed(SIGNATURE), f"{SIGNATURE}: missing"),
    "another key": (
        lambda files: files.update({PUBLIC_KEY: OTHER_KEY}),
        f"{SIGNATURE}: not a valid signature by the key in {PUBLIC_KEY}",
    ),
}


@pytest.mark.parametrize("kind", HOLDS)
def test_unsigned_text_may_change(files: Files, checked: Callable[..., Check], kind: str) -> None:
    HOLDS[kind](files)
    assert checked(files).verdict == "holds"


@pytest.mark.parametrize("kind", DIFFERS)
def test_changes_after_signing_are_reported(
    files: Files, keys: tuple[Key, Key], checked: Callable[..., Check], kind: str
) -> None:
    change, line = DIFFERS[kind]
    change(files)
    files["SHA256SUMS"] = checksums(files)
    check = checked(files)
    assert check.verdict == "differs" and any(each.startswith(line) for each in check.lines), check.lines


def test_unsigned_files_are_listed(files: Files, checked: Callable[..., Check]) -> None:
    added("photo.png", b"png")(files)
    check = checked(files)
    assert check.verdict == "holds" and "photo.png" in check.lines[0]


def changed_payload(content: bytes, change: Callable[[dict], object]) -> bytes:
    """Change the list of files, and keep the signature."""
    bundle = json.loads(content)
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(payload)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    return json.dumps(bundle).encode()


def without_signatures(content: bytes) -> bytes:
    bundle = json.loads(content)
    bundle["dsseEnvelope"]["signatures"] = []
    return json.dumps(bundle).encode()


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "bytes": lambda content: bytes(range(256)),
    "a number": lambda content: b"1",
    "a long number": lambda content: b"9" * 10_000,
    "null": lambda content: b"null",
    "a list": lambda content: b"[]",
    "an object": lambda content: b"{}",
    "deep": lambda content: b"[" * 400_000,
    "deep material": lambda content: b'{"verificationMaterial": ' + b'{"publicKey":' * 100_000,
    "no envelope": lambda content: b'{"verificationMaterial": {"publicKey": {}}}',
    "text for material": lambda content: b'{"verificationMaterial": "publicKey"}',
    "keyless, empty": lambda content: b'{"verificationMaterial": {}}',
    "keyless, of garbage": lambda content: b'{"verificationMaterial": {"certificate": {"rawBytes": "AAAA"}}}',
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "cut short": lambda content: content[:-100],
    "huge": lambda content: b" " * (LARGEST_SIGNATURE + 1),
    "no signatures": without_signatures,
    "another list": lambda content: changed_payload(content, lambda payload: payload["predicate"]["resources"].pop()),
    "no list": lambda content: changed_payload(content, lambda payload: payload.clear()),
    "a Git LFS pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_an_invalid_signature_is_reported_in_one_line(
    files: Files, checked: Callable[..., Check], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    files[SIGNATURE] = GARBAGE[kind](files[SIGNATURE])
    check = checked(files)
    assert check.verdict == "differs" and len(check.lines) == 1 and len(check.lines[0]) < 300, check.lines
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"x" * 20_000]
)
def test_an_invalid_public_key_is_reported_in_one_line(
    files: Files, checked: Callable[..., Check], content: bytes
) -> None:
    files[PUBLIC_KEY] = content
    check = checked(files)
    assert check.verdict == "differs" and len(check.lines) == 1


def test_files_named_in_a_signature_are_not_opened(
    unsigned: Files,
    keys: tuple[Key, Key],
    tmp_path: Path,
    checked: Callable[..., Check],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A signer can list any name; here, the digest is that of a file outside of the folder."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret", "utf-8")
    outside = os.path.relpath(secret, tmp_path / "published")
    from model_signing import manifest

    def name_of(item: manifest.FileManifestItem) -> object:
        path = Path(outside) if item._path.name == "data.json" else item._path
        return manifest._File(path)

    with monkeypatch.context() as patched:
        patched.setattr(manifest.FileManifestItem, "key", property(name_of))
        hostile = signed(unsigned, keys[0])
    opened: list[Path] = []

    def recorded(path: Path) -> str:
        opened.append(path)
        return sha256(path)

    monkeypatch.setattr("escoita.cards.verify.signature.sha256", recorded)
    check = checked(hostile)
    assert check.lines == [
        f"{outside}: removed after signing by the key {fingerprint(keys[0].public)}",
        "data.json: not signed",
    ]
    assert opened and all(path.resolve().is_relative_to(tmp_path / "published") for path in opened)


def test_without_the_public_key_a_signature_is_not_checked(
    files: Files, keys: tuple[Key, Key], checked: Callable[..., Check]
) -> None:
    del files[PUBLIC_KEY]
    assert checked(files).verdict == "not checked"
    assert checked(files, Signer(fingerprint(keys[0].public))).verdict == "differs"


def test_without_the_packages_a_signature_is_not_checked(
    files: Files, checked: Callable[..., Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    check = checked(files)
    assert check.verdict == "not checked" and signatures.INSTALL in check.lines[0]
    with pytest.raises(PublishError):
        required_signer("sha256:" + "0" * 64, None)
    with pytest.raises(PublishError):
        require_signer("key.pem")


def test_a_fingerprint_may_contain_colons_and_capitals() -> None:
    digits = "0a" * 32
    pairs = ":".join(["0A"] * 32)
    assert (
        required_signer(f"SHA256:{pairs}", None)
        == required_signer(f"sha256:{digits}", None)
        == Signer(f"sha256:{digits}")
    )
    address = "https://github.com/ana/train/.github/workflows/publish.yml@refs/heads/main"
    assert required_signer(address, None) == Signer(address, "https://token.actions.githubusercontent.com")
    assert required_signer("ana@example.org", "https://issuer.example") == Signer(
        "ana@example.org", "https://issuer.example"
    )
    assert required_signer(None, None) is None


@pytest.mark.parametrize(
    ("identity", "issuer"),
    [("sha256:00", None), ("sha256:" + "g" * 64, None), ("ana@example.org", None), (None, "https://issuer.example")],
)
def test_invalid_requirements_are_refused(identity: str | None, issuer: str | None) -> None:
    with pytest.raises(PublishError):
        required_signer(identity, issuer)


def test_model_signing_verifies_the_same_folder(files: Files, tmp_path: Path) -> None:
    """Readers can check a signature without escoita, with `model_signing verify key`."""
    folder = write_files(tmp_path / "published", files)
    words = [sys.executable, "-m", "model_signing", "verify", "key", "--signature", str(folder / SIGNATURE)]
    words += ["--public_key", str(folder / PUBLIC_KEY), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / RESULTS).write_bytes(b"{}")
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
