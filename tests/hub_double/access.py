"""Authenticate users, and check their permissions.

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
    Store the permission of a token of a CI job.

    Args:
        resource (`str`):
            The one repository that it may read and write: `acme/adapter`, `datasets/acme/clips`, `spaces/acme/demo`.
        expires_at (`float`):
            Expiry in seconds since the epoch.
    """

    resource: str
    expires_at: float


@dataclass(frozen=True)
class User:
    """
    Represent a user of the double.

    Args:
        name (`str`):
            The user's name, and the namespace of their own repositories.
        role (`str`):
            Role of the token: `"write"` or `"read"`.
        organizations (`tuple[str]`, *optional*, defaults to `("acme",)`):
            Organizations of the user.
        resource (`str`, *optional*):
            Repository of the token of a CI job; None for users.
    """

    name: str
    role: str
    organizations: tuple[str, ...] = (ORGANIZATION,)
    resource: str | None = None

    def may_read(self, resource: str) -> bool:
        """Return whether the user can see a private repository."""
        if self.resource is not None:
            return resource == self.resource
        return resource.split("/")[-2] in (self.name, *self.organizations)

    def may_write(self, resource: str) -> bool:
        """Return whether the user may create, change and delete a repository."""
        return self.role == "write" and self.may_read(resource)

    def may_propose(self, resource: str) -> bool:
        """Return whether the user may open pull requests on a visible repository."""
        return self.role == "write" and self.resource in (None, resource)

    def may_act_for(self, namespace: str) -> bool:
        """Return whether the user may create collections in a namespace."""
        return self.role == "write" and self.resource is None and namespace in (self.name, *self.organizations)


def user_from_header(authorization: str, grants: dict[str, Grant]) -> User | None:
    """
    Return the user of an `Authorization` header.

    Args:
        authorization (`str`):
            Value of the header, which can be empty.
        grants (`dict[str, Grant]`):
            Tokens of CI jobs.

    Returns:
        `User` or `None`: None for an anonymous call, if the header is empty.

    Raises:
        [`HubError`]: 401 if the token is unknown or has expired.
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
