"""Handle requests for the settings and the state of a Space."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import HubError
from .routing import Call
from .store import Repo, SpaceState


SDKS = ("gradio", "docker", "static", "streamlit")


def new_space(repo_type: str, body: dict[str, Any]) -> SpaceState:
    """
    Return the state of a new repository.

    Raises:
        [`HubError`]: 400 for a Space without an SDK.
    """
    if repo_type != "space":
        return SpaceState()
    if body.get("sdk") not in SDKS:
        raise HubError(400, f"Invalid sdk: {body.get('sdk')}")
    given = {name: {item["key"]: item["value"] for item in body.get(name) or []} for name in ("variables", "secrets")}
    return SpaceState(body.get("hardware") or "cpu-basic", given["variables"], given["secrets"])


async def variables(request: Request) -> Response:
    """Return all variables, set one, or delete one."""
    call = Call.of(request)
    held = _space(call, write=True).space.variables
    await _change(call, held)
    return JSONResponse({key: {"key": key, "value": value} for key, value in held.items()})


async def secrets(request: Request) -> Response:
    """Return the names of all secrets, set one, or delete one."""
    call = Call.of(request)
    held = _space(call, write=True).space.secrets
    await _change(call, held)
    return JSONResponse({key: {"key": key} for key in held})


async def hardware(request: Request) -> Response:
    call = Call.of(request)
    space = _space(call, write=True)
    space.space.hardware = (await call.json())["flavor"]
    _restart(space.space)
    return JSONResponse(_runtime(space))


async def restart(request: Request) -> Response:
    space = _space(Call.of(request), write=True)
    _restart(space.space)
    return JSONResponse(_runtime(space))


async def runtime(request: Request) -> Response:
    """Return the stage, which advances at each request; the first request after a commit returns the previous one."""
    space = _space(Call.of(request))
    answer = _runtime(space)
    state, newest = space.space, space.at("main").id
    if state.sha != newest:
        state.sha = newest
        _restart(state)
    elif len(state.ahead) > 1:
        del state.ahead[0]
    return JSONResponse(answer)


def _runtime(space: Repo) -> dict[str, Any]:
    state = space.space
    stage = state.ahead[0] if state.ahead else "NO_APP_FILE"
    current = state.hardware if stage == "RUNNING" else None
    answer = {"stage": stage, "hardware": {"current": current, "requested": state.hardware}, "gcTimeout": 172800}
    answer |= {"storage": None, "replicas": {"requested": 1}, "sha": state.sha}
    return answer | ({"errorMessage": state.error} if stage.endswith("_ERROR") else {})


async def _change(call: Call, held: dict[str, str]) -> None:
    if call.request.method == "GET":
        return
    body = await call.json()
    if call.request.method == "POST":
        held[body["key"]] = body["value"]
    else:
        held.pop(body["key"], None)
    _restart(_space(call).space)


def _restart(state: SpaceState) -> None:
    state.ahead = list(state.course)


def _space(call: Call, write: bool = False) -> Repo:
    return call.repo_for("space", f"{call.param('owner')}/{call.param('name')}", write=write)


_SPACE = "/api/spaces/{owner:segment}/{name:segment}"
routes = [
    Route(f"{_SPACE}/runtime", runtime),
    Route(f"{_SPACE}/hardware", hardware, methods=["POST"]),
    Route(f"{_SPACE}/restart", restart, methods=["POST"]),
    Route(f"{_SPACE}/variables", variables, methods=["GET", "POST", "DELETE"]),
    Route(f"{_SPACE}/secrets", secrets, methods=["GET", "POST", "DELETE"]),
]
