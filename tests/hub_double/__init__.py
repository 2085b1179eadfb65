"""A small server that speaks the Hub API, to test the real `huggingface_hub` client over HTTP.

    from tests.hub_double import serve

    with serve(tmp_path) as hub:
        api = HfApi(endpoint=hub.url, token="hf_ana")
        api.create_repo("acme/adapter")
        assert hub.log[-1] == ("POST", "/api/repos/create", 200)

Or as a process of its own: `python -m tests.hub_double --root DIR --port 8080 [--xet]`.

Metadata lives in memory, blobs on disk under `root`. Any token `hf_<user>` may write, `hf_read_<user>` only reads,
`hf_expired_<user>` is refused, and every user belongs to the organization `acme`. The client reads `HF_ENDPOINT` and
`HF_HUB_DISABLE_XET` when it is imported: set them before, or run the code under test in a subprocess.

What a test can do to it, besides looking into `hub.store` and `hub.log`:

    hub.faults.append(Fault("POST", "/commit/", status=500))          # see `faults` for all that can go wrong
    hub.commit("acme/adapter", {"README.md": b"# New"}, "Edit")       # as somebody else would
    hub.trust("acme/adapter", repository="acme/train")                # let a CI job publish without a stored token
    environment = hub.ci_job(repository="acme/train")                 # and be that job, with HF_OIDC_RESOURCE

How the package is laid out, from the disk up to the socket:

- `blobs`, `cas`, `store`: contents on disk, hf_xet's local CAS, and repositories with their commits and refs;
- `pulls`: what pull requests do to a repository;
- `access`, `errors`: who may do what, and how the Hub says no;
- `card_check`, `known`, `eval_results`: what it refuses in a model card, and reads from results for benchmarks;
- `routing`: percent-encoded paths and `Call`, what a handler knows about its request;
- `repo_info`: a repository and its card's metadata as the API describes them;
- `repos`, `refs`, `commits`, `discussions`, `files`, `lfs`, `xet`, `spaces`, `collections`, `oidc`: handlers, each
  module with its own list of `routes`;
- `faults`, `headers`: middleware, for what goes wrong and for what every answer has;
- `app`, `server`: the Starlette application and the thread that serves it.

A further part of the Hub API is a new module with a list of `routes`, added to `app.ROUTES`.
"""

from .app import LogEntry
from .faults import Fault
from .server import HubDouble, serve
from .store import Commit, Repo, Store


__all__ = ["Commit", "Fault", "HubDouble", "LogEntry", "Repo", "Store", "serve"]
