"""Test `push --sign` with a key, over HTTP with the Hub double."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from escoita.cards.front_matter import blocks
from escoita.cards.signature import PUBLIC_KEY, SECTIONS, SIGNATURE, fingerprint, read_signature
from escoita.cards.signing import PASSWORD, generated_parts, parts, require_signer, sign, with_signature
from escoita.errors import PublishError
from escoita.hub.upload import CommitPlan, Head
from escoita.run_directory import RunDirectory
from tests.cards.publishing import (
    REPO,
    Push,
    commits,
    content,
    make_repositories,
    make_run,
    tree,
)
from tests.cards.signers import write_key
from tests.cards.verifiable_run import published
from tests.hub_double import HubDouble, serve


pytestmark = pytest.mark.slow


UNSIGNED = {"README.md", ".gitattributes", "SHA256SUMS", SIGNATURE}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    with serve(tmp_path / "hub") as double:
        make_repositories(double, REPO, earlier=False)
        yield double


def test_a_signed_publication_lists_every_file_except_the_card(hub: HubDouble, push: Push, tmp_path: Path) -> None:
    key = write_key(tmp_path / "key.pem")
    push("--sign", str(key))
    there = tree(hub)
    assert {SIGNATURE, PUBLIC_KEY, SECTIONS} <= there
    signature = read_signature(content(hub, SIGNATURE), content(hub, PUBLIC_KEY))
    assert set(signature.digests) == there - UNSIGNED
    assert signature.signer == fingerprint(content(hub, PUBLIC_KEY))
    sums = content(hub, "SHA256SUMS").decode()
    assert all(f"  {name}\n" in sums for name in (SIGNATURE, PUBLIC_KEY, SECTIONS))
    card = content(hub, "README.md").decode()
    listed = {line[66:]: line[:64] for line in content(hub, SECTIONS).decode().splitlines()}
    assert listed == parts(card)
    assert {f"section {block.name}" for block in blocks(card)} < listed.keys()
    assert b"PRIVATE" not in content(hub, PUBLIC_KEY)


@pytest.mark.slow
def test_signing_again_changes_nothing_and_an_unsigned_push_removes_the_signature(
    hub: HubDouble, push: Push, tmp_path: Path
) -> None:
    key, other = write_key(tmp_path / "key.pem"), write_key(tmp_path / "other.pem")
    push("--sign", str(key))
    push("--sign", str(key))
    assert len(commits(hub)) == 2
    first = content(hub, PUBLIC_KEY)
    push("--sign", str(other))
    assert len(commits(hub)) == 3 and content(hub, PUBLIC_KEY) != first
    assert "deleted" in push("--dry-run").stdout
    assert "signature" in push().stderr
    assert not {SIGNATURE, PUBLIC_KEY, SECTIONS} & tree(hub)


def test_a_dry_run_shows_the_signature_and_changes_nothing(hub: HubDouble, push: Push, tmp_path: Path) -> None:
    before = commits(hub)
    shown = push("--dry-run", "--sign", str(write_key(tmp_path / "key.pem"))).stdout
    assert SIGNATURE in shown and commits(hub) == before


def test_parts_that_were_removed_or_added_on_the_hub_are_not_signed(
    hub: HubDouble, push: Push, tmp_path: Path
) -> None:
    key = write_key(tmp_path / "key.pem")
    push("--sign", str(key))
    card = content(hub, "README.md").decode()
    block = next(block for block in blocks(card) if block.name == "citation")
    edited = card[: block.start] + card[block.end :]
    edited = edited.replace("tags:\n", "tags:\n- of-mine\n").replace("license:", "of_mine: 1\nlicense:", 1)
    hub.commit(REPO, {"README.md": edited.encode()}, "By hand")
    push("--sign", str(key))
    card, listed = content(hub, "README.md").decode(), content(hub, SECTIONS).decode()
    assert "- of-mine" in card and "of_mine: 1" in card
    assert "of-mine" not in listed and "of_mine" not in listed and "section citation" not in listed
    assert 'tag "speech"' in listed and "section results" in listed


def test_the_password_of_a_key_is_read_from_the_environment(hub: HubDouble, push: Push, tmp_path: Path) -> None:
    key = write_key(tmp_path / "key.pem", b"pass word")
    assert PASSWORD in push("--sign", str(key), code=1).stderr
    refused = push("--sign", str(key), code=1, **{PASSWORD: "another word"}).stderr
    assert PASSWORD in refused and "another word" not in refused
    push("--sign", str(key), **{PASSWORD: "pass word"})
    assert SIGNATURE in tree(hub)


def private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, none)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00 nothing",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        private_pem(ed25519.Ed25519PrivateKey.generate()),
        private_pem(ec.generate_private_key(ec.SECP256K1())),
        None,
    ],
    ids=["empty", "garbage", "damaged", "ed25519", "another curve", "missing"],
)
def test_an_invalid_key_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(PublishError) as refused:
        require_signer(str(tmp_path / "key.pem"))
    assert "key.pem" in str(refused.value) and "\n" not in str(refused.value)


def test_a_public_key_is_refused(tmp_path: Path) -> None:
    key = require_signer(str(write_key(tmp_path / "key.pem")))
    assert key
    (tmp_path / "public.pem").write_bytes(key.public)
    with pytest.raises(PublishError):
        require_signer(str(tmp_path / "public.pem"))


def test_every_curve_can_sign(tmp_path: Path) -> None:
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()):
        (tmp_path / "key.pem").write_bytes(private_pem(ec.generate_private_key(curve)))
        key = require_signer(str(tmp_path / "key.pem"))
        assert key
        signature = read_signature(sign({"a/b.json": b"{}"}, key, "name"), key.public)
        assert set(signature.digests) == {"a/b.json"} and signature.signer == fingerprint(key.public)


def test_a_card_that_changes_during_signing_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    key = require_signer(str(write_key(tmp_path / "key.pem")))
    removed = {"card": False}

    def revise(existing: str, new: str) -> str:
        return new.replace("- speech\n", "") if removed["card"] else new

    plan = with_signature(CommitPlan(published(run), "title", revise=revise), Head(), key, REPO)
    plan.onto(Head())
    removed["card"] = True
    with pytest.raises(PublishError):
        plan.onto(Head())


def test_parts_do_not_depend_on_the_formatting_of_an_editor() -> None:
    card = "---\nlicense: mit\ntags:\n- speech\n- lora\nlanguage:\n- gl\n---\n\n# Title\n"
    other = '---\r\nlanguage: gl\r\ntags: ["lora", "speech", "mine"]\r\nlicense: "mit"\r\n---\r\n\r\n# Another\r\n'
    assert parts(card).items() <= parts(other).items()
    assert generated_parts(card, other) == parts(card)
    assert json.dumps("mine") in str([name for name in parts(other) if name not in parts(card)])
