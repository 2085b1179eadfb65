"""Who is calling, and what they may do.

There are no accounts: a token names its user. `hf_<user>` is a write token, `hf_read_<user>` a read token, anything
else is refused.
"""

import re
from dataclasses import dataclass

from .errors import HubError


ORGANIZATION = "acme"
_TOKEN = re.compile(r"hf_(?P<read>read_)?(?P<user>[\w-]+)")


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
    """

    name: str
    role: str
    organizations: tuple[str, ...] = (ORGANIZATION,)

    def may_read(self, repo_id: str) -> bool:
        """Whether the user sees `repo_id` even when it is private."""
        return repo_id.split("/")[0] in (self.name, *self.organizations)

    def may_write(self, repo_id: str) -> bool:
        """Whether the user may create, change and delete `repo_id`."""
        return self.role == "write" and self.may_read(repo_id)


def user_from_header(authorization: str) -> User | None:
    """
    The user whom an `Authorization` header names.

    Returns:
        `User` or `None`: None when the header is empty, that is for an anonymous call.

    Raises:
        [`HubError`]: 401 when the token is not one of the double's.
    """
    token = authorization.removeprefix("Bearer ").strip()
    if not token:
        return None
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise HubError(401, "Invalid credentials in Authorization header")
    return User(name=match["user"], role="read" if match["read"] else "write")
