"""Check the rights of a token by the answer to whoami."""

from typing import Any

import pytest

from escoita.hub.auth import may_write


def me(role: str, *scopes: tuple[str, list[str]]) -> dict[str, Any]:
    scoped = [{"entity": {"type": "user", "name": name}, "permissions": permissions} for name, permissions in scopes]
    return {"name": "ana", "auth": {"accessToken": {"role": role, "fineGrained": {"scoped": scoped}}}}


@pytest.mark.parametrize(
    "answer, exists, expected",
    [
        (me("write"), False, True),
        (me("read"), True, False),
        (me("fineGrained"), True, False),
        (me("fineGrained", ("ana", ["repo.content.read", "repo.write"])), False, True),
        (me("fineGrained", ("ana", ["repo.content.read"])), False, False),
        (me("fineGrained", ("bea", ["repo.write"])), False, False),
        (me("fineGrained", ("ana/uzbek", ["repo.write"])), True, True),
        (me("fineGrained", ("ana/uzbek", ["repo.write"])), False, False),  # may not create it
        (me("fineGrained", ("ana/other", ["repo.write"])), True, False),
        ({"name": "[OIDC]", "auth": {}}, True, True),
    ],
)
def test_rights_of_a_token(answer: dict[str, Any], exists: bool, expected: bool) -> None:
    assert may_write(answer, "ana/uzbek", exists) is expected
