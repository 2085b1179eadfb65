"""Serve OpenAI's API with the responses that a test defines."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from escoita.serve.server import listening


Reply = Callable[[dict[str, str]], Response]


def text(content: str = "salom", **more: Any) -> Response:
    return Response(json.dumps({"text": content} | more), media_type="application/json")


@dataclass
class Double:
    """
    Hold the responses of a server and the requests that it received.

    Args:
        url (`str`): The address.
        replies (`list[Response]`): The answers to the next transcriptions, in order; then `salom`.
        models (`Response`, *optional*): The answer to the list of models.
        requests (`list[dict]`): The fields, headers and file of each transcription.
    """

    url: str = ""
    replies: list[Response] = field(default_factory=list)
    models: Response | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    delay: float = 0.0


@contextmanager
def double() -> Iterator[Double]:
    """Run a double on a free port of this machine."""
    state = Double()

    async def models(_: Request) -> Response:
        return state.models or JSONResponse({"data": [{"id": "m", "object": "model"}]})

    async def transcribe(request: Request) -> Response:
        async with request.form() as form:
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            upload: Any = form["file"]
            fields["file"] = await upload.read()
        state.requests.append(fields | {"headers": dict(request.headers)})
        return state.replies.pop(0) if state.replies else text()

    routes = [Route("/v1/models", models), Route("/v1/audio/transcriptions", transcribe, methods=["POST"])]
    with listening("127.0.0.1", 0) as listener:
        state.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield state
        finally:
            server.should_exit = True
            thread.join(timeout=10)
