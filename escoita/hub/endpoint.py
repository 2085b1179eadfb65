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
