"""
Sign published files.

The signature is a Sigstore bundle, `model.sig`, written by the package model-signing. It lists the signed files with
their SHA-256: all files except the card, `SHA256SUMS` and `.gitattributes`. The card remains editable:
`card.sha256`, which is signed, lists the digests of its generated sections and of the generated keys of its front
matter. `signer.pub` is the public key of a key-based signature.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from escoita.cards.front_matter import blocks, key_text, keys, sha256_of, split
from escoita.cards.publication import CARD, CHECKSUMS, checksums
from escoita.cards.signature import PUBLIC_KEY, SECTIONS, SIGNATURE, fingerprint, read_signature, require_extra
from escoita.errors import PublishError
from escoita.hub.upload import CommitPlan, Content, Head
from escoita.utils.files import write_atomically


KEYLESS = "sigstore"
PASSWORD = "ESCOITA_SIGN_PASSWORD"  # noqa: S105, the name of a variable
UNSIGNED = (CARD, CHECKSUMS, SIGNATURE)
# Written by clients that download a repository into a folder; listed so that `model_signing verify` skips it.
CLIENT_CACHE = ".cache"
CURVES = ("secp256r1", "secp384r1", "secp521r1")


@dataclass(frozen=True)
class Key:
    """
    Represent a private key for signing.

    Args:
        path (`Path`): PEM file of the private key.
        password (`bytes`, *optional*): Password of an encrypted file.
        public (`bytes`): Public key in PEM.
    """

    path: Path
    password: bytes | None
    public: bytes


def require_signer(requested: str) -> Key | None:
    """
    Read the key of `--sign`, or check that there is an identity for keyless signing.

    Args:
        requested (`str`): Path of a private key in PEM, or `sigstore`.

    Returns:
        `Key | None`: Private key; none for keyless signing.

    Raises:
        PublishError: The key cannot be used, there is no identity, or a package is missing.
    """
    require_extra("--sign")
    if requested == KEYLESS:
        _ambient_token()
        return None
    return _read_key(Path(requested))


def with_signature(
    plan: CommitPlan, head: Head, key: Key | None, repo: str, earlier: bytes = b"", dry_run: bool = False
) -> CommitPlan:
    """
    Add the digests of the generated parts of the card, the public key and the signature to a commit.

    An existing signature by the same key over the same files is kept, so that publishing again changes nothing.

    Args:
        plan ([`CommitPlan`]): Commit with its files in memory.
        head ([`Head`]): Current state of the repository; the card is merged with the published one.
        key ([`Key`], *optional*): Private key; none for keyless signing.
        repo (`str`): Repository, `user/name`; the name is written into the signature.
        earlier (`bytes`, *optional*): Published `model.sig`.
        dry_run (`bool`, *optional*, defaults to `False`): Whether keyless signing is skipped, since each signature is
            recorded in a public log.

    Raises:
        PublishError: Signing failed.
    """
    files = {name: content for name, content in plan.files.items() if isinstance(content, bytes)}
    listed = generated_parts(files[CARD].decode(), _text(plan.onto(head)[CARD]))
    files[SECTIONS] = "".join(f"{digest}  {name}\n" for name, digest in listed.items()).encode()
    if key:
        files[PUBLIC_KEY] = key.public
    content = {name: content for name, content in files.items() if name not in UNSIGNED}
    if key and _signs_the_same(earlier, key, content):
        files[SIGNATURE] = earlier
    elif key or not dry_run:
        files[SIGNATURE] = sign(content, key, repo.rpartition("/")[2])
    else:
        files[SIGNATURE] = b"not signed in a dry run\n"
    files[CHECKSUMS] = checksums(files)
    return replace(plan, files=files, revise=_same_parts(plan.revise, listed))


def sign(files: Mapping[str, bytes], key: Key | None, name: str) -> bytes:
    """
    Sign files.

    Args:
        files (`Mapping[str, bytes]`): Content by path.
        key ([`Key`], *optional*): Private key; none for keyless signing with the identity of the environment.
        name (`str`): Name of the model in the signature.

    Returns:
        `bytes`: Sigstore bundle.

    Raises:
        PublishError: Sigstore refuses or cannot be reached.
    """
    from model_signing import hashing, signing

    ignored = [*UNSIGNED, CLIENT_CACHE]
    config = signing.Config().set_hashing_config(hashing.Config().set_ignored_paths(paths=ignored))
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            write_atomically(Path(folder) / name / path, content)
        out = Path(folder) / f"{name}.sig"
        if key:
            # The library passes the password on unchanged, and cryptography expects bytes.
            password: Any = key.password
            config.use_elliptic_key_signer(private_key=key.path, password=password)
            config.sign(Path(folder) / name, out)
        else:
            token = _ambient_token()
            try:
                config.use_sigstore_signer(identity_token=token)
                config.sign(Path(folder) / name, out)
            except Exception as error:  # errors of sigstore, tuf, requests and urllib3, without a common base
                problem = f"signing with Sigstore failed ({_one_line(error)})"
                raise PublishError(problem, key="--sign", value=KEYLESS) from error
        return out.read_bytes()


def parts(card: str) -> dict[str, str]:
    """
    Return the SHA-256 of each marked section, key of the front matter and tag of a card, by its name.

    Tags are listed separately, since authors add their own.
    """
    found: dict[str, str] = {}
    for key in keys(split(card)[1]):
        if key.name == "tags":
            tags = key.value if isinstance(key.value, list) else [key.value]
            found |= {f"tag {json.dumps(tag, default=str)}": sha256_of(key_text(tag)) for tag in tags}
        else:
            found[f"front {json.dumps(key.name, default=str)}"] = sha256_of(key_text(key.value))
    return found | {f"section {block.name}": sha256_of(block.text) for block in blocks(card)}


def generated_parts(new: str, merged: str) -> dict[str, str]:
    """Return the generated [`parts`] of a merged card."""
    generated = parts(new)
    return {name: digest for name, digest in parts(merged).items() if name in generated}


def _read_key(path: Path) -> Key:
    """Read a private key, with its password from the environment if it is encrypted."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    try:
        content = path.read_bytes()
    except OSError as error:
        raise PublishError(f"cannot be read ({error.strerror})", key="--sign", value=path) from error
    password = None
    try:
        try:
            private = serialization.load_pem_private_key(content, None)
        except TypeError as error:  # encrypted
            password = os.environ.get(PASSWORD, "").encode()
            if not password:
                raise PublishError(
                    "encrypted key", key="--sign", value=path, hint=f"set {PASSWORD} to its password"
                ) from error
            private = serialization.load_pem_private_key(content, password)
    except ValueError as error:
        reason = f"wrong password in {PASSWORD}" if password else "not a private key in PEM"
        raise PublishError(reason, key="--sign", value=path) from error
    if not isinstance(private, EllipticCurvePrivateKey) or private.curve.name not in CURVES:
        raise PublishError(
            f"not an elliptic-curve key on {', '.join(CURVES)}",
            key="--sign",
            value=path,
            hint="create one with `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`",
        )
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return Key(path, password, private.public_key().public_bytes(serialization.Encoding.PEM, form))


def _ambient_token() -> str:
    """Return the identity token of a job of GitHub Actions or of another provider that Sigstore knows."""
    from sigstore.errors import Error
    from sigstore.oidc import detect_credential

    try:
        token = detect_credential()
    except Error as error:
        problem = f"no identity token for this job ({_one_line(error)})"
        raise PublishError(problem, key="--sign", value=KEYLESS) from error
    if not token:
        raise PublishError(
            "no identity in this environment",
            key="--sign",
            value=KEYLESS,
            hint="run it in a job of GitHub Actions with `permissions: id-token: write`, or use a private key",
        )
    return token


def _signs_the_same(earlier: bytes, key: Key, files: Mapping[str, bytes]) -> bool:
    """Return whether a signature is by this key and over these files."""
    if not earlier:
        return False
    try:
        signature = read_signature(earlier, key.public)
    except PublishError:
        return False
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return signature.signer == fingerprint(key.public) and signature.digests == expected


def _same_parts(
    revise: Callable[[str, str], str] | None, listed: Mapping[str, str]
) -> Callable[[str, str], str] | None:
    """Return a merge function that refuses a card whose generated parts differ from the signed ones."""
    if not revise:
        return None

    def checked(published: str, new: str) -> str:
        merged = revise(published, new)
        if generated_parts(new, merged) != listed:
            raise PublishError("changed on the Hub during signing", path=CARD, hint="run the command again")
        return merged

    return checked


def _text(content: Content) -> str:
    return content.decode() if isinstance(content, bytes) else content.read_text("utf-8")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
