"""
Keep the user name and the password that `HF_ENDPOINT` may contain before the host out of every address, so that no
message, log, error or record can contain them. They are sent only to that host, as HTTP Basic authentication.
"""

import os
import sys
from base64 import b64encode
from urllib.parse import unquote


# Variable from which child processes read the login that was removed from HF_ENDPOINT.
LOGIN = "ESCOITA_HUB_LOGIN"

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
AROUND_TOKENS = " \t\r\n\ufeff\u200b\u00a0"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


def remove_endpoint_login() -> None:
    """Remove the login from `HF_ENDPOINT`, before or after huggingface_hub reads it, and have requests send it."""
    # All before the last @ is the login, even if it contains what ends a host: an endpoint has no @ elsewhere.
    before, at, address = os.environ.get("HF_ENDPOINT", "").rpartition("@")
    if at:
        scheme, mark, login = before.partition("://") if "://" in before else ("", "", before)
        os.environ[LOGIN] = login
        os.environ["HF_ENDPOINT"] = f"{scheme}{mark}{address}"
        os.environ["HF_HUB_DISABLE_XET"] = "1"  # its requests are made without our client
    if os.environ.get(LOGIN):
        _send_login(os.environ[LOGIN])


def clean_tokens() -> None:
    """Remove a byte order mark and whitespace around the token in the environment, which an editor may have added."""
    for name in TOKENS:
        if (token := os.environ.get(name)) is not None:
            os.environ[name] = token.strip(AROUND_TOKENS)


def bypass_proxy_for_local_addresses() -> None:
    """Add the addresses of this machine to `NO_PROXY`, because no proxy can reach a page that it serves."""
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host.strip() for host in os.environ.get(name, "").split(",") if host.strip()]
        os.environ[name] = ",".join([*hosts, *(host for host in LOCAL_HOSTS if host not in hosts)])


def _send_login(login: str) -> None:
    if "huggingface_hub.constants" in sys.modules:
        _correct_constants()
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import httpx
    from huggingface_hub.utils._http import default_client_factory

    user, _, password = login.partition(":")
    header = "Basic " + b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    endpoint = os.environ["HF_ENDPOINT"]

    def authorized(request: httpx.Request) -> httpx.Request:
        if _origin(request.url) == _origin(httpx.URL(endpoint)):
            request.headers["Authorization"] = header
        return request

    def client() -> httpx.Client:
        created = default_client_factory()
        created.auth = authorized
        return created

    def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
        return url.scheme, url.host, url.port

    set_client_factory(client)


def _correct_constants() -> None:
    """Correct the copies of `HF_ENDPOINT` in huggingface_hub, if a script imported it before escoita."""
    from huggingface_hub import constants

    before, constants.ENDPOINT = constants.ENDPOINT, os.environ["HF_ENDPOINT"].rstrip("/")
    constants.HUGGINGFACE_CO_URL_TEMPLATE = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(before, constants.ENDPOINT)
    constants.HF_HUB_DISABLE_XET = True
    if module := sys.modules.get("huggingface_hub.hf_api"):
        module.api.endpoint = constants.ENDPOINT
