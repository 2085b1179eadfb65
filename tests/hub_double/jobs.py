"""Handle requests for jobs. A job runs nothing: it passes through the stages and prints given lines."""

import itertools
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .errors import HubError
from .routing import Call


HARDWARE = [
    {"name": "cpu-basic", "prettyName": "CPU Basic", "cpu": "2 vCPU", "ram": "16 GB", "accelerator": None}
    | {"unitCostMicroUSD": 167, "unitCostUSD": 0.000167, "unitLabel": "minute"},
    {"name": "a100x4", "prettyName": "4x Nvidia A100 - large", "cpu": "48 vCPU", "ram": "568 GB"}
    | {"accelerator": {"type": "gpu", "model": "A100", "quantity": "4", "vram": "320 GB", "manufacturer": "Nvidia"}}
    | {"unitCostMicroUSD": 200000, "unitCostUSD": 0.2, "unitLabel": "minute"},
]


async def hardware(request: Request) -> Response:
    return JSONResponse(HARDWARE)


async def run(request: Request) -> Response:
    call = Call.of(request)
    namespace = _namespace(call)
    book, body = call.store.job_book, await call.json()
    if body["flavor"] not in {each["name"] for each in HARDWARE}:
        raise HubError(400, f"Invalid flavor: {body['flavor']}")
    name = next(f"{number:024x}" for number in itertools.count(1) if f"{number:024x}" not in book.sent)
    book.sent[name] = body
    return JSONResponse(_info(namespace, name, body, "RUNNING"))


async def inspect(request: Request) -> Response:
    call = Call.of(request)
    book = call.store.job_book
    return JSONResponse(_info(_namespace(call), call.param("job"), _sent(call), book.stage, book.message))


async def logs(request: Request) -> Response:
    call = Call.of(request)
    _namespace(call)
    _sent(call)
    lines = [json.dumps({"data": line, "timestamp": "2026-01-01T00:00:00Z"}) for line in call.store.job_book.log]
    return Response("".join(f"data: {line}\n\n" for line in lines), media_type="text/event-stream")


def _namespace(call: Call) -> str:
    namespace = call.param("namespace")
    if call.user is None or not call.user.may_act_for(namespace):
        raise HubError(403, f"You may not run jobs for {namespace}")
    return namespace


def _sent(call: Call) -> dict[str, Any]:
    body = call.store.job_book.sent.get(call.param("job"))
    if body is None:
        raise HubError(404, "Job not found")
    return body


def _info(namespace: str, name: str, body: dict[str, Any], stage: str, message: str | None = None) -> dict[str, Any]:
    request = {
        key: body.get(key) for key in ("command", "arguments", "environment", "flavor", "dockerImage", "labels")
    }
    owner = {"id": "1", "name": namespace, "type": "user"}
    return request | {"id": name, "owner": owner, "status": {"stage": stage, "message": message}, "volumes": None}


_JOB = "/api/jobs/{namespace:segment}"
routes = [
    Route("/api/jobs/hardware", hardware),
    Route(_JOB, run, methods=["POST"]),
    Route(f"{_JOB}/{{job:segment}}", inspect),
    Route(f"{_JOB}/{{job:segment}}/logs", logs),
]
