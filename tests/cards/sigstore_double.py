"""
Provide a Sigstore for tests without a network.

It issues certificates (Fulcio), keeps a log with one entry (Rekor), and issues identity tokens like GitHub Actions.
Its trust configuration names its own keys. The client and the verifier are the real ones.
"""

import base64
import hashlib
import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


ISSUER = "https://token.actions.githubusercontent.com"
IDENTITY = "https://github.com/ana/train/.github/workflows/publish.yml@refs/heads/main"
ISSUER_OID, SCT_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
Key = ec.EllipticCurvePrivateKey


def der(key: Key) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def key_id(key: Key) -> bytes:
    return hashlib.sha256(der(key)).digest()


def signed(key: Key, content: bytes) -> bytes:
    return key.sign(content, ec.ECDSA(hashes.SHA256()))


class SigstoreDouble:
    """
    Hold the keys, and sign with them.

    Args:
        identity (`str`): Identity in the certificates.
    """

    def __init__(self, identity: str = IDENTITY):
        self.identity, self.url = identity, ""
        self.entries: list[dict[str, Any]] = []
        self.ca, self.rekor, self.ct = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        self.root = self._certificate_authority()

    def _certificate_authority(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "double")])
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "digital_signature"),
            False,
        )
        usage |= {"key_cert_sign": True, "crl_sign": True, "encipher_only": False, "decipher_only": False}
        now, public = datetime.now(UTC), self.ca.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.ca, hashes.SHA256())
        )

    def certificate(self, public: ec.EllipticCurvePublicKey) -> x509.Certificate:
        """Return a certificate of a key for the identity, with the timestamp of a certificate log."""
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign"), False
        )
        usage |= {"digital_signature": True, "crl_sign": False, "encipher_only": False, "decipher_only": False}
        now = datetime.now(UTC)
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(self.identity)])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(minutes=10))
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(authority, critical=False)
            .add_extension(san, critical=True)
            .add_extension(x509.UnrecognizedExtension(ISSUER_OID, ISSUER.encode()), critical=False)
        )
        before = builder.sign(self.ca, hashes.SHA256()).tbs_certificate_bytes
        stamp = self._timestamp(before)
        return builder.add_extension(x509.UnrecognizedExtension(SCT_OID, stamp), critical=False).sign(
            self.ca, hashes.SHA256()
        )

    def _timestamp(self, before: bytes) -> bytes:
        """Return the extension of RFC 6962, a list with one signed certificate timestamp."""
        now = int(time.time() * 1000)
        entry = key_id(self.ca) + len(before).to_bytes(3, "big") + before
        signature = signed(self.ct, struct.pack("!BBQH", 0, 0, now, 1) + entry + struct.pack("!H", 0))
        stamp = (
            struct.pack("!B32sQH", 0, key_id(self.ct), now, 0) + struct.pack("!BBH", 4, 3, len(signature)) + signature
        )
        listed = struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp
        size = bytes([len(listed)]) if len(listed) < 128 else bytes([0x81, len(listed)])
        return b"\x04" + size + listed

    def logged(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """Log a DSSE envelope as the first and only entry."""
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        payload = base64.b64decode(envelope["payload"])
        hashed = {
            "envelopeHash": hashlib.sha256(content["envelope"].encode()).hexdigest(),
            "payloadHash": hashlib.sha256(payload).hexdigest(),
        }
        spec: dict[str, Any] = {name: {"algorithm": "sha256", "value": value} for name, value in hashed.items()}
        verifier = content["verifiers"][0]
        spec["signatures"] = [{"signature": each["sig"], "verifier": verifier} for each in envelope["signatures"]]
        body = rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        root = hashlib.sha256(b"\x00" + body).digest()
        note = f"double\n1\n{b64(root)}\n"
        mark = b64(key_id(self.rekor)[:4] + signed(self.rekor, note.encode()))
        entry: dict[str, str | int] = {
            "body": b64(body),
            "integratedTime": int(time.time()),
            "logID": key_id(self.rekor).hex(),
            "logIndex": 0,
        }
        promise = b64(signed(self.rekor, rfc8785.dumps({**entry})))
        proof = {"logIndex": 0, "rootHash": root.hex(), "treeSize": 1, "hashes": []}
        proof["checkpoint"] = f"{note}\n— double {mark}\n"
        self.entries.append(entry)
        return entry | {"verification": {"signedEntryTimestamp": promise, "inclusionProof": proof}}

    def token(self) -> str:
        """Return an identity token of a job in GitHub's format; its signature is not checked here."""
        now = int(time.time())
        reference = self.identity.removeprefix("https://github.com/")
        claims = {"iss": ISSUER, "aud": "sigstore", "sub": "repo:ana/train:ref:refs/heads/main", "iat": now}
        claims |= {"nbf": now, "exp": now + 300, "job_workflow_ref": reference}
        parts = ({"alg": "RS256", "typ": "JWT"}, claims)
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join([*encoded, "AAAA"])

    def trust(self) -> str:
        """Return the trust configuration for this double."""
        start = {"start": "2020-01-01T00:00:00Z"}

        def log(key: Key) -> dict[str, Any]:
            public = {"rawBytes": b64(der(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": start}
            return {"baseUrl": self.url, "hashAlgorithm": "SHA2_256", "publicKey": public} | {
                "logId": {"keyId": b64(key_id(key))}
            }

        certificate = {"rawBytes": b64(self.root.public_bytes(serialization.Encoding.DER))}
        authority = {
            "subject": {"organization": "double", "commonName": "double"},
            "uri": self.url,
            "certChain": {"certificates": [certificate]},
            "validFor": start,
        }
        service = {"url": self.url, "majorApiVersion": 1, "validFor": start, "operator": "double"}
        trusted = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.rekor)],
            "certificateAuthorities": [authority],
            "ctlogs": [log(self.ct)],
            "timestampAuthorities": [],
        }
        config = {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service],
            "oidcUrls": [service],
            "rekorTlogUrls": [service],
            "tsaUrls": [],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaConfig": {"selector": "ANY"},
        }
        kind = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
        return json.dumps({"mediaType": kind, "trustedRoot": trusted, "signingConfig": config})

    def answer(self, path: str, sent: bytes) -> dict[str, Any] | None:
        """Return the response to a request, or `None` for an unknown path."""
        if path.startswith("/token"):
            return {"value": self.token()}
        if path.startswith("/.well-known/openid-configuration"):
            return {"authorization_endpoint": f"{self.url}/auth", "token_endpoint": f"{self.url}/token"}
        if path == "/api/v2/signingCert":
            request = x509.load_pem_x509_csr(base64.b64decode(json.loads(sent)["certificateSigningRequest"]))
            public = request.public_key()
            assert isinstance(public, ec.EllipticCurvePublicKey)
            chain = [each.public_bytes(serialization.Encoding.PEM) for each in (self.certificate(public), self.root)]
            return {"signedCertificateEmbeddedSct": {"chain": {"certificates": [each.decode() for each in chain]}}}
        if path == "/api/v1/log/entries":
            return {"0" * 64: self.logged(json.loads(sent))}
        return None


@contextmanager
def serve_sigstore(identity: str = IDENTITY) -> Iterator[SigstoreDouble]:
    """Serve the double on this machine."""
    double = SigstoreDouble(identity)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = double.answer(self.path, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            content = json.dumps(answer or {}).encode()
            self.send_response(200 if answer else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    double.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
