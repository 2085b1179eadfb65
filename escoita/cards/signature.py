"""Read a signature: the signer and the digests of the signed files. The input is untrusted."""

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
INSTALL = "run `pip install 'escoita[sign]'`"
STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
# Extension of a certificate of Sigstore with the provider of the identity.
ISSUER = "1.3.6.1.4.1.57264.1.1"


class SignatureError(PublishError):
    """Report an invalid signature or key."""


class SignatureUnchecked(PublishError):
    """Report a signature that cannot be checked on this machine."""


@dataclass(frozen=True)
class Signature:
    """
    Represent a valid signature.

    Args:
        signer (`str`): `sha256:` and the fingerprint of a key, or an identity that Sigstore certifies.
        digests (`dict[str, str]`): SHA-256 of each signed file by its path.
        issuer (`str`, *optional*): Provider of the identity; none for a key.
    """

    signer: str
    digests: dict[str, str]
    issuer: str | None = None

    @property
    def who(self) -> str:
        """Return the name of the signer for use in a sentence."""
        return f"{self.signer} (by {self.issuer})" if self.issuer else f"the key {self.signer}"


def require_extra(what: str) -> None:
    """
    Check that the packages for signatures are installed.

    Args:
        what (`str`): File or option that needs these packages.

    Raises:
        SignatureUnchecked: A package is missing.
    """
    try:
        import model_signing  # noqa: F401
    except ImportError as error:
        raise SignatureUnchecked("the package model-signing is missing", key=what, hint=INSTALL) from error


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
        raise SignatureError("not a public key in PEM", path=PUBLIC_KEY) from error
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def read_signature(content: bytes, public: bytes | None) -> Signature:
    """
    Check a signature of any signer, and return its signer and digests.

    Args:
        content (`bytes`): Content of `model.sig`.
        public (`bytes`, *optional*): Content of `signer.pub`; not needed for a keyless signature.

    Raises:
        SignatureError: The signature is not valid.
        SignatureUnchecked: The key is not published, or a package is missing.
    """
    require_extra(SIGNATURE)
    if len(content) > LARGEST_SIGNATURE:
        raise SignatureError(f"more than {LARGEST_SIGNATURE:,} bytes", path=SIGNATURE)
    try:
        material = json.loads(content)["verificationMaterial"]
        keyless = "publicKey" not in material
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise SignatureError("not a signature of model-signing", path=SIGNATURE) from error
    if keyless:
        return _of_identity(content)
    if public is None:
        raise SignatureUnchecked(f"signed with a key, but {PUBLIC_KEY} is missing", path=SIGNATURE)
    return _of_key(content, public)


def _of_key(content: bytes, public: bytes) -> Signature:
    # The public `verify` of the package hashes a folder by the rules in the signature, and returns neither the signed
    # files nor the differences; its verifiers return the list.
    from model_signing._signing import sign_ec_key, sign_sigstore_pb

    signer = fingerprint(public)
    with tempfile.TemporaryDirectory() as folder:
        signature, key = Path(folder) / SIGNATURE, Path(folder) / PUBLIC_KEY
        write_atomically(signature, content)
        write_atomically(key, public)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # prints warnings
                manifest = sign_ec_key.Verifier(key).verify(sign_sigstore_pb.Signature.read(signature))
            return Signature(signer, _digests(manifest))
        except Exception as error:  # any error on unexpected JSON; its text may quote the input
            problem = f"not a valid signature by the key in {PUBLIC_KEY}, {signer}"
            raise SignatureError(problem, path=SIGNATURE) from error


def _of_identity(content: bytes) -> Signature:
    from model_signing._signing.signing import dsse_payload_to_manifest
    from sigstore.models import Bundle

    certificate = _Certificate()
    try:
        bundle = Bundle.from_json(content)
        kind, payload = _sigstore_verifier().verify_dsse(bundle, certificate)
        statement = json.loads(payload)
        if kind != PAYLOAD_TYPE or statement["_type"] != STATEMENT:
            raise ValueError("unexpected type of statement")
        return Signature(certificate.identity, _digests(dsse_payload_to_manifest(statement)), certificate.issuer)
    except SignatureUnchecked:
        raise
    except Exception as error:  # as in _of_key
        raise SignatureError("not a valid keyless signature", path=SIGNATURE) from error


def _sigstore_verifier() -> Any:
    """Return a verifier with the current keys of Sigstore, or with those of the package if there is no network."""
    from sigstore.errors import TUFError
    from sigstore.verify import Verifier

    try:
        try:
            return Verifier.production()
        except TUFError:  # no network
            return Verifier.production(offline=True)
    except OSError as error:
        problem = f"the keys of Sigstore cannot be stored ({error.strerror})"
        raise SignatureUnchecked(problem, path=SIGNATURE) from error


class _Certificate:
    """Represent a policy of sigstore that accepts every identity, and stores it."""

    identity, issuer = "", ""

    def verify(self, cert: Any) -> None:
        from cryptography import x509

        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found: list[str] = [
            *names.get_values_for_type(x509.RFC822Name),
            *names.get_values_for_type(x509.UniformResourceIdentifier),
        ]
        if len(found) != 1:
            raise ValueError("expected a certificate with one identity")
        self.identity = found[0]
        self.issuer = cert.extensions.get_extension_for_oid(x509.ObjectIdentifier(ISSUER)).value.value.decode()


def _digests(manifest: Any) -> dict[str, str]:
    """Return the digests in a signature; names are compared with those of files, and never opened."""
    listed = list(manifest.resource_descriptors())
    if manifest.serialization_type["method"] != "files" or {each.digest.algorithm for each in listed} != {"sha256"}:
        raise ValueError("expected SHA-256 digests of files")
    return {each.identifier: each.digest.digest_hex for each in listed}
