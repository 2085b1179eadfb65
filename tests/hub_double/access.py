"""Who is calling, and what they may do.

There are no accounts: a token names its user. `hf_<user>` is a write token, `hf_read_<user>` a read token,
`hf_expired_<user>` one that has expired; `hf_jwt_…` is a token of a CI job, which `oidc` gave out. Anything else is
refused.
"""

import re
import time
from dataclasses import dataclass

from .errors import INVALID_CREDENTIALS, HubError


ORGANIZATION = "acme"
CI_USER = "[OIDC]"
_TOKEN = re.compile(r"hf_(?P<kind>read_|expired_|jwt_)?(?P<user>[\w-]+)")


@dataclass
class Grant:
    """
    What a token of a CI job is good for.

    Args:
        resource (`str`):
            The one repository that it may read and write: `acme/adapter`, `datasets/acme/clips`, `spaces/acme/demo`.
        expires_at (`float`):
            When it ends, in seconds since the epoch.
    """

    resource: str
    expires_at: float


@dataclass(frozen=True)
class User:
    """
    A user of the double.

    Args:
        name (`str`):
            The user's name, and the namespace of their own repositories.
        role (`str`):
            What the token allows: `"write"` or `"read"`.
        organizations (`tuple[str]`, *optional*, defaults to `("acme",)`):
            Organizations in whose namespace the user acts too.
        resource (`str`, *optional*):
            The one repository that the token of a CI job is for; None for people.
    """

    name: str
    role: str
    organizations: tuple[str, ...] = (ORGANIZATION,)
    resource: str | None = None

    def may_read(self, resource: str) -> bool:
        """Whether the user sees a repository even when it is private."""
        if self.resource is not None:
            return resource == self.resource
        return resource.split("/")[-2] in (self.name, *self.organizations)

    def may_write(self, resource: str) -> bool:
        """Whether the user may create, change and delete a repository."""
        return self.role == "write" and self.may_read(resource)

    def may_propose(self, resource: str) -> bool:
        """Whether the user may open pull requests on a repository that they see."""
        return self.role == "write" and self.resource in (None, resource)

    def may_act_for(self, namespace: str) -> bool:
        """Whether the user may make collections in a namespace."""
        return self.role == "write" and self.resource is None and namespace in (self.name, *self.organizations)


def user_from_header(authorization: str, grants: dict[str, Grant]) -> User | None:
    """
    The user whom an `Authorization` header names.

    Args:
        authorization (`str`):
            The header; empty when there is none.
        grants (`dict[str, Grant]`):
            The tokens of CI jobs.

    Returns:
        `User` or `None`: None when the header is empty, that is for an anonymous call.

    Raises:
        [`HubError`]: 401 when the token is not one of the double's, or has expired.
    """
    token = authorization.removeprefix("Bearer ").strip()
    if not token:
        return None
    match = _TOKEN.fullmatch(token)
    if match is None or match["kind"] == "expired_":
        raise HubError(401, INVALID_CREDENTIALS)
    if match["kind"] == "jwt_":
        grant = grants.get(token)
        if grant is None or grant.expires_at <= time.time():
            raise HubError(401, INVALID_CREDENTIALS)
        return User(name=CI_USER, role="write", organizations=(), resource=grant.resource)
    return User(name=match["user"], role="read" if match["kind"] else "write")
