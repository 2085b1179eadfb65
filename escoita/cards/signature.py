"""Read a signature: who signed, and which digests of which files. What is read may come from anybody."""

import contextlib
import hashlib
import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escoita.errors import PublishError
from escoita.utils.files import write_atomically


SIGNATURE, PUBLIC_KEY, SECTIONS = "model.sig", "signer.pub", "card.sha256"
# In bytes. The signature of 60 files has 12 kB.
LARGEST_SIGNATURE, LARGEST_KEY = 1_000_000, 10_000
INSTALL = "pip install 'escoita[sign]'"
STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
# Extension of a certificate of Sigstore: who vouches for the identity.
ISSUER = "1.3.6.1.4.1.57264.1.1"


class SignatureError(PublishError):
    """A signature that is not valid, or not a signature at all."""


class SignatureUnchecked(PublishError):
    """A signature that cannot be checked here."""


@dataclass(frozen=True)
class Signature:
    """
    A valid signature.

    Args:
        signer (`str`): `sha256:` and the fingerprint of a key, or an identity that Sigstore vouches for.
        digests (`dict[str, str]`): SHA-256 of each signed file by its path.
        issuer (`str`, *optional*): Provider of the identity; none of a key.
    """

    signer: str
    digests: dict[str, str]
    issuer: str | None = None

    @property
    def who(self) -> str:
        """The signer in words."""
        return f"{self.signer} (by {self.issuer})" if self.issuer else f"the key {self.signer}"


def require_extra(what: str) -> None:
    """
    Make sure that the packages for signatures are installed.

    Raises:
        SignatureUnchecked: They are not; says how to install them.
    """
    try:
        import model_signing  # noqa: F401
    except ImportError as error:
        raise SignatureUnchecked(f"{what} needs the package model-signing; {INSTALL}") from error


def fingerprint(public: bytes) -> str:
    """
    Return `sha256:` and the SHA-256 of a public key's DER form, as
    `openssl pkey -pubin -in signer.pub -outform DER | sha256sum` prints it.

    Raises:
        SignatureError: Not a public key in PEM.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_public_key(public)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{PUBLIC_KEY}: not a public key in PEM") from error
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def read_signature(content: bytes, public: bytes | None) -> Signature:
    """
    Check a signature, whoever made it, and return what it lists.

    Args:
        content (`bytes`): Of `model.sig`.
        public (`bytes`, *optional*): Of `signer.pub`; a keyless signature needs none.

    Raises:
        SignatureError: Not a valid signature.
        SignatureUnchecked: It is of a key that is not published, or the packages are not installed.
    """
    require_extra(SIGNATURE)
    if len(content) > LARGEST_SIGNATURE:
        raise SignatureError(f"{SIGNATURE}: over {LARGEST_SIGNATURE:,} bytes, so it is not read")
    try:
        material = json.loads(content)["verificationMaterial"]
        keyless = "publicKey" not in material
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise SignatureError(f"{SIGNATURE}: not a signature of model-signing") from error
    if keyless:
        return _of_identity(content)
    if public is None:
        raise SignatureUnchecked(f"{SIGNATURE} is by a key, and there is no {PUBLIC_KEY}")
    return _of_key(content, public)


def _of_key(content: bytes, public: bytes) -> Signature:
    # The package's public `verify` hashes a folder by the rules that the signature itself gives, and tells neither
    # which files are signed nor which differ; its verifiers give the list.
    from model_signing._signing import sign_ec_key, sign_sigstore_pb

    signer = fingerprint(public)
    with tempfile.TemporaryDirectory() as folder:
        signature, key = Path(folder) / SIGNATURE, Path(folder) / PUBLIC_KEY
        write_atomically(signature, content)
        write_atomically(key, public)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # warns on it
                manifest = sign_ec_key.Verifier(key).verify(sign_sigstore_pb.Signature.read(signature))
            return Signature(signer, _digests(manifest))
        except Exception as error:  # whatever Python raises on JSON of another form; its text may quote that
            raise SignatureError(f"{SIGNATURE}: not a valid signature by the key in {PUBLIC_KEY}, {signer}") from error


def _of_identity(content: bytes) -> Signature:
    from model_signing._signing.signing import dsse_payload_to_manifest
    from sigstore.models import Bundle

    seen = _Certificate()
    try:
        bundle = Bundle.from_json(content)
        kind, payload = _sigstore_verifier().verify_dsse(bundle, seen)
        statement = json.loads(payload)
        if kind != PAYLOAD_TYPE or statement["_type"] != STATEMENT:
            raise ValueError("a statement of another type")
        return Signature(seen.identity, _digests(dsse_payload_to_manifest(statement)), seen.issuer)
    except SignatureUnchecked:
        raise
    except Exception as error:  # as in _of_key
        raise SignatureError(f"{SIGNATURE}: not a valid keyless signature") from error


def _sigstore_verifier() -> Any:
    """Return a verifier with Sigstore's newest keys, or with those that came with the package."""
    from sigstore.errors import TUFError
    from sigstore.verify import Verifier

    try:
        try:
            return Verifier.production()
        except TUFError:  # no network
            return Verifier.production(offline=True)
    except OSError as error:
        raise SignatureUnchecked(f"{SIGNATURE}: the keys of Sigstore cannot be stored ({error.strerror})") from error


class _Certificate:
    """A policy of sigstore that accepts every identity, and keeps it."""

    identity, issuer = "", ""

    def verify(self, cert: Any) -> None:
        from cryptography import x509

        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found: list[str] = [
            *names.get_values_for_type(x509.RFC822Name),
            *names.get_values_for_type(x509.UniformResourceIdentifier),
        ]
        if len(found) != 1:
            raise ValueError("a certificate of more than one identity")
        self.identity = found[0]
        self.issuer = cert.extensions.get_extension_for_oid(x509.ObjectIdentifier(ISSUER)).value.value.decode()


def _digests(manifest: Any) -> dict[str, str]:
    """Return the digests that a signature lists; names are compared with those of files, and never opened."""
    listed = list(manifest.resource_descriptors())
    if manifest.serialization_type["method"] != "files" or {each.digest.algorithm for each in listed} != {"sha256"}:
        raise ValueError("a signature by other rules than SHA-256 of files")
    return {each.identifier: each.digest.digest_hex for each in listed}
