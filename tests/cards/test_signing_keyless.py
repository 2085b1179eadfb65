"""Test keyless signing and its verification with the client of Sigstore and a local Sigstore."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sigstore.models import ClientTrustConfig

from escoita.cards.signature import PUBLIC_KEY, SIGNATURE, SignatureError, read_signature
from escoita.cards.signing import KEYLESS, require_signer, with_signature
from escoita.cards.verify.signature import Signer, check_signature, required_signer
from escoita.errors import PublishError
from escoita.hub.upload import CommitPlan, Head
from tests.cards.publishing import REPO, Command
from tests.cards.sigstore_double import IDENTITY, ISSUER, SigstoreDouble, serve_sigstore
from tests.cards.verifiable_run import make_verifiable_run, published, with_record, write_files


RESULTS = "eval/results.json"
JOB = ("GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    return published(make_verifiable_run(tmp_path_factory.mktemp("open") / "run"))


@pytest.fixture
def sigstore(monkeypatch: pytest.MonkeyPatch) -> Iterator[SigstoreDouble]:
    """Return the double, which is used like Sigstore by a job of GitHub Actions with `id-token: write`."""
    with serve_sigstore() as double:
        for name, value in zip(JOB, ("true", f"{double.url}/token?api-version=2.0", "secret"), strict=True):
            monkeypatch.setenv(name, value)
        trust(monkeypatch, double)
        yield double


def trust(monkeypatch: pytest.MonkeyPatch, double: SigstoreDouble) -> None:
    monkeypatch.setattr(
        ClientTrustConfig, "production", lambda offline=False: ClientTrustConfig.from_json(double.trust())
    )


def signed(files: Mapping[str, bytes], dry_run: bool = False) -> dict[str, bytes]:
    assert require_signer(KEYLESS) is None
    plan = with_signature(CommitPlan(files, "Publish"), Head(), None, REPO, dry_run=dry_run)
    return {name: content for name, content in plan.files.items() if isinstance(content, bytes)}


def test_a_job_signs_with_its_identity_and_verify_names_it(
    sigstore: SigstoreDouble, unsigned: Mapping[str, bytes], tmp_path: Path
) -> None:
    files = signed(unsigned)
    assert PUBLIC_KEY not in files and len(sigstore.entries) == 1
    folder = write_files(tmp_path / "published", files)
    check = check_signature(folder, required_signer(IDENTITY, None))
    assert check.verdict == "holds" and IDENTITY in check.lines[0] and ISSUER in check.lines[0]
    assert check_signature(folder).verdict == "holds"
    for other in (Signer(IDENTITY, "https://issuer.example"), Signer("https://github.com/eve/train", ISSUER)):
        assert check_signature(folder, other).verdict == "differs"
    (folder / RESULTS).write_bytes(with_record(files, wer=0.05))
    check = check_signature(folder)
    assert check.verdict == "differs" and check.lines[0].startswith(f"{RESULTS}: changed ")


def test_a_changed_list_and_an_unknown_sigstore_are_refused(
    sigstore: SigstoreDouble, unsigned: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = signed(unsigned)[SIGNATURE]
    assert read_signature(content, None).signer == IDENTITY
    bundle = json.loads(content)
    payload = bundle["dsseEnvelope"]["payload"]
    bundle["dsseEnvelope"]["payload"] = f"{payload[:40]}AAAA{payload[44:]}"
    with pytest.raises(SignatureError):
        read_signature(json.dumps(bundle).encode(), None)
    trust(monkeypatch, SigstoreDouble())
    with pytest.raises(SignatureError):
        read_signature(content, None)


def test_a_dry_run_signs_nothing_in_the_public_log(sigstore: SigstoreDouble, unsigned: Mapping[str, bytes]) -> None:
    assert SIGNATURE in signed(unsigned, dry_run=True)
    assert not sigstore.entries


def test_outside_of_a_job_there_is_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in JOB:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PublishError):
        require_signer(KEYLESS)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")  # a job without `id-token: write`
    with pytest.raises(PublishError):
        require_signer(KEYLESS)


def test_an_unreachable_sigstore_is_reported_in_one_line(
    sigstore: SigstoreDouble, unsigned: Mapping[str, bytes]
) -> None:
    assert require_signer(KEYLESS) is None
    sigstore.answer = lambda path, sent: {"value": sigstore.token()} if path.startswith("/token") else None  # type: ignore[method-assign]
    with pytest.raises(PublishError) as refused:
        signed(unsigned)
    assert KEYLESS in str(refused.value) and "\n" not in str(refused.value)


def test_the_command_refuses_in_one_line(command: Command, tmp_path: Path) -> None:
    done = command("-m", "escoita", "push", "--run", str(tmp_path), "--repo", REPO, "--sign", KEYLESS)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
