"""Check who signed the published files, and that they are unchanged since."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from escoita.cards.front_matter import LONGEST_CARD
from escoita.cards.publication import ADAPTER_FILES, CARD
from escoita.cards.signature import (
    LARGEST_KEY,
    LARGEST_SIGNATURE,
    PUBLIC_KEY,
    SECTIONS,
    SIGNATURE,
    Signature,
    SignatureError,
    SignatureUnchecked,
    read_signature,
    require_extra,
)
from escoita.cards.signing import parts
from escoita.cards.verify.check import Check, compared, skipped, unprovable
from escoita.cards.verify.published_files import FILES_WITHOUT_DIGEST, HASHED_FILES, published_files
from escoita.errors import PublishError
from escoita.utils.files import sha256


WHAT = "signature"
GITHUB = "https://token.actions.githubusercontent.com"
# Characters of a name, which is untrusted, that are printed.
LONGEST_NAME = 200
_PART = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>(?:section|front|tag) .+)")


@dataclass(frozen=True)
class Signer:
    """
    Represent the required signer.

    Args:
        name (`str`): `sha256:` and the fingerprint of a key, or an identity that Sigstore certifies.
        issuer (`str`, *optional*): Provider of the identity; none for a key.
    """

    name: str
    issuer: str | None = None


def required_signer(identity: str | None, issuer: str | None) -> Signer | None:
    """
    Return the signer that `--identity` and `--identity-provider` require.

    Args:
        identity (`str`, *optional*): `sha256:` and the fingerprint of a key, with or without colons, or an identity.
        issuer (`str`, *optional*): Provider of the identity; default for an address of GitHub: GitHub Actions.

    Raises:
        PublishError: The identity is not valid, or a package is missing.
    """
    if not identity:
        if issuer:
            raise PublishError("--identity is missing", key="--identity-provider", value=issuer, hint="add --identity")
        return None
    require_extra("--identity")
    if identity.lower().startswith("sha256:"):
        digits = identity[len("sha256:") :].replace(":", "").lower()
        if not re.fullmatch("[0-9a-f]{64}", digits):
            problem = "not a fingerprint: expected sha256: and 64 hexadecimal digits"
            raise PublishError(problem, key="--identity", value=identity)
        return Signer(f"sha256:{digits}")
    issuer = issuer or (GITHUB if identity.startswith("https://github.com/") else None)
    if not issuer:
        problem = "the provider of the identity is missing"
        raise PublishError(problem, key="--identity", value=identity, hint="add --identity-provider")
    return Signer(identity, issuer)


def check_signature(folder: Path, required: Signer | None = None) -> Check:
    """
    Check `model.sig` against the files of a folder.

    Args:
        folder (`Path`): Folder with the published files.
        required ([`Signer`], *optional*): Required signer.
    """
    files = published_files(folder)
    if SIGNATURE not in files:
        return _unsigned(files, required)
    try:
        public = _bounded(files[PUBLIC_KEY], LARGEST_KEY) if PUBLIC_KEY in files else None
        signature = read_signature(_bounded(files[SIGNATURE], LARGEST_SIGNATURE), public)
    except SignatureError as error:
        return Check(WHAT, "differs", [str(error)])
    except SignatureUnchecked as error:
        if required:
            return Check(WHAT, "differs", [f"{error}; --identity requires {required.name}"])
        return skipped(WHAT, str(error))
    differences = [*_other_signer(signature, required), *_changed(files, signature)]
    parts_too = f" and the generated parts of {CARD}" if SECTIONS in signature.digests else ""
    holds = f"signed by {signature.who}: {len(signature.digests)} files{parts_too} are unchanged"
    if not signature.issuer and not required:
        holds += "; the owner of the key is unknown: compare its fingerprint with a known one (--identity)"
    unsigned = sorted(files.keys() - signature.digests.keys() - FILES_WITHOUT_DIGEST - {SIGNATURE})
    if unsigned:
        holds += f"; not signed: {', '.join(map(_short, unsigned))}"
    return compared(WHAT, differences, holds)


def _unsigned(files: Mapping[str, Path], required: Signer | None) -> Check:
    left = sorted({PUBLIC_KEY, SECTIONS} & files.keys())
    if left:
        return Check(WHAT, "differs", [f"{SIGNATURE}: missing, but {' and '.join(left)} of a signature exist"])
    if required:
        return Check(WHAT, "differs", [f"not signed; --identity requires {required.name}"])
    return unprovable(WHAT, "not signed, so that the publisher is unknown")


def _other_signer(signature: Signature, required: Signer | None) -> Iterator[str]:
    if required and (signature.signer, signature.issuer) != (required.name, required.issuer):
        by = f" (by {required.issuer})" if required.issuer else ""
        yield f"signed by {signature.who}; --identity requires {required.name}{by}"


def _changed(files: Mapping[str, Path], signature: Signature) -> Iterator[str]:
    """Yield a line for each file and generated part of the card that differs from the signed one."""
    since = f"after signing by {signature.who}"
    for name, digest in signature.digests.items():
        if name not in files:
            yield f"{_short(name)}: removed {since}"
        elif sha256(files[name]) != digest:
            yield f"{_short(name)}: changed {since}"
    for name in sorted(files.keys() - signature.digests.keys()):
        if name in (*ADAPTER_FILES, PUBLIC_KEY, SECTIONS) or HASHED_FILES.fullmatch(name):
            yield f"{_short(name)}: not signed"
    if SECTIONS in files and signature.digests.get(SECTIONS) == sha256(files[SECTIONS]):
        yield from _changed_parts(files, since)


def _changed_parts(files: Mapping[str, Path], since: str) -> Iterator[str]:
    if CARD not in files:
        yield f"{CARD}: removed {since}"
        return
    if files[CARD].stat().st_size > 4 * LONGEST_CARD:
        yield f"{CARD}: too large"
        return
    card = parts(files[CARD].read_text("utf-8", "replace"))
    signed: dict[str, str] = {}
    for number, line in enumerate(
        _bounded(files[SECTIONS], LARGEST_SIGNATURE).decode("utf-8", "replace").splitlines(), 1
    ):
        if found := _PART.fullmatch(line):
            signed[found["name"]] = found["digest"]
        else:
            yield f"{SECTIONS}:{number}: expected digest and name"
    for name, digest in signed.items():
        if name not in card:
            yield f"{CARD}, {_short(name)}: removed {since}"
        elif card[name] != digest:
            yield f"{CARD}, {_short(name)}: changed {since}"
    for name in card:
        if name.startswith("section ") and name not in signed:
            yield f"{CARD}, {_short(name)}: not signed"


def _bounded(path: Path, limit: int) -> bytes:
    if path.stat().st_size > limit:
        raise SignatureError(f"more than {limit:,} bytes", path=path.name)
    return path.read_bytes()


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"
