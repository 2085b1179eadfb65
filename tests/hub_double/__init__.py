"""Provide a small server with the Hub API, to test the real `huggingface_hub` client over HTTP.

    from tests.hub_double import serve

    with serve(tmp_path) as hub:
        api = HfApi(endpoint=hub.url, token="hf_ana")
        api.create_repo("acme/adapter")
        assert hub.log[-1] == ("POST", "/api/repos/create", 200)

Or as a separate process: `python -m tests.hub_double --root DIR --port 8080 [--xet]`.

Metadata lives in memory, blobs on disk under `root`. Any token `hf_<user>` may write, `hf_read_<user>` only reads,
`hf_expired_<user>` is refused, and every user belongs to the organization `acme`. The client reads `HF_ENDPOINT` and
`HF_HUB_DISABLE_XET` when it is imported: set them before, or run the code under test in a subprocess.

Tests can read `hub.store` and `hub.log`, and change the double:

    hub.faults.append(Fault("POST", "/commit/", status=500))          # see `faults` for all faults
    hub.commit("acme/adapter", {"README.md": b"# New"}, "Edit")       # like another user
    hub.trust("acme/adapter", repository="acme/train")                # let a CI job publish without a stored token
    environment = hub.ci_job(repository="acme/train")                 # and be that job, with HF_OIDC_RESOURCE

Modules of the package, from the disk to the socket:

- `blobs`, `cas`, `store`: contents on disk, hf_xet's local CAS, and repositories with their commits and refs;
- `pulls`: the effects of pull requests on a repository;
- `access`, `errors`: permissions, and the errors of the Hub;
- `card_check`, `known`, `eval_results`: the check of model cards, and results for benchmarks;
- `routing`: percent-encoded paths and `Call`, the request that a handler gets;
- `repo_info`: the API's description of a repository and of the metadata of its card;
- `repos`, `refs`, `commits`, `discussions`, `files`, `lfs`, `xet`, `spaces`, `collections`, `oidc`: handlers, each
  module with its own list of `routes`;
- `faults`, `headers`: middleware for faults and for common headers;
- `app`, `server`: the Starlette application and the thread that serves it.

To add a part of the Hub API, write a module with a list of `routes`, and add it to `app.ROUTES`.
"""

from .app import LogEntry
from .faults import Fault
from .server import HubDouble, serve
from .store import Commit, Repo, Store


__all__ = ["Commit", "Fault", "HubDouble", "LogEntry", "Repo", "Store", "serve"]
