"""
Define the routes of OpenAI's API for transcription, for `escoita serve` and the page.

```bash
curl http://127.0.0.1:8000/v1/audio/transcriptions -F model=uzbek -F file=@clip.ogg
```
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.inference.outputs import TranscribedFile
from escoita.inference.streaming import Partial
from escoita.records.transcript import Transcript
from escoita.serve import formats
from escoita.serve.errors import ApiError, api_error, invalid
from escoita.serve.parameters import Parameters, read_parameters, unknown_model
from escoita.serve.transcription import CLIENT_DISCONNECTED, ClientDisconnectedError, Job, unless_client_disconnects
from escoita.serve.uploads import Form, read_form


if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send

    from escoita.serve.service import Service

# The body of a refused request is read to its end if it has at most so many times the bytes of the largest recording.
# Otherwise a client that is still sending would not read the response.
MAX_DISCARDED = 4
Handler = Callable[["Request"], Awaitable["Response"]]


def application(service: "Service") -> "Starlette":
    """
    Return the application of a server.

    Args:
        service ([`~escoita.serve.service.Service`]): The models, limits and keys.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    async def health(request: "Request") -> "Response":
        return _health(service)

    async def metrics(request: "Request") -> "Response":
        service.client(request)
        assert service.metrics is not None  # noqa: S101  the route exists
        ready = not service.loading()
        return service.metrics.response(ready, lambda: _adapter_bytes(service) if ready else {})

    async def other(request: "Request", error: Exception) -> "Response":
        status = error.status_code if isinstance(error, HTTPException) else 500
        code = {404: "not_found", 405: "method_not_allowed"}.get(status, "internal_error")
        return ApiError(status, f"{request.method} {request.url.path[:200]} is not served here.", code).response()

    more = [Route("/health", answering(service, health))]
    if service.metrics is not None:
        more.append(Route("/metrics", answering(service, metrics)))
    return Starlette(routes=[*routes(service), *more], exception_handlers={HTTPException: other})


def routes(service: "Service") -> "list[Route]":
    """
    Return the routes below `/v1`.

    Args:
        service ([`~escoita.serve.service.Service`]): The models, limits and keys.
    """
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def list_models(request: "Request") -> "Response":
        service.client(request)
        return JSONResponse({"object": "list", "data": [_model(service, each) for each in service.models]})

    async def get_model(request: "Request") -> "Response":
        service.client(request)
        name = request.path_params["name"]
        if name not in service.models:
            raise unknown_model(name)
        return JSONResponse(_model(service, name))

    async def transcribe(request: "Request") -> "Response":
        return await _counted(service, request)

    return [
        Route("/v1/audio/transcriptions", answering(service, transcribe), methods=["POST"]),
        Route("/v1/models", answering(service, list_models)),
        Route("/v1/models/{name:path}", answering(service, get_model)),
    ]


def answering(service: "Service", handler: Handler) -> Handler:
    """Return a handler that responds to errors with the error objects of OpenAI's API."""

    async def answered(request: "Request") -> "Response":
        try:
            return await handler(request)
        except Exception as error:
            response = api_error(error).response()
            length = request.headers.get("content-length", "" if request.method == "POST" else "0")
            if not length.isdecimal() or int(length) > MAX_DISCARDED * service.max_bytes:
                response.headers["Connection"] = "close"  # otherwise uvicorn would read the body to its end
            return response

    return answered


async def _counted(service: "Service", request: "Request") -> "Response":
    status = CLIENT_DISCONNECTED
    try:
        response = await _transcribe(service, request)
        status = response.status_code
        return response
    except ApiError as error:
        status = error.status
        raise
    finally:
        if service.metrics:
            service.metrics.count_status(status)


async def _transcribe(service: "Service", request: "Request") -> "Response":
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response

    client, form = service.client(request), Form()
    service.listener()  # the body is not read before the model is loaded
    try:
        with ExitStack() as opened:
            opened.enter_context(service.slot())
            form = await _received(service, request)
            opened.callback(form.remove)
            parameters, path = _checked(service, form)
            job = Job(service, parameters, path, client)
            opened.callback(job.close)
            partials = job.partials()
            first = await unless_client_disconnects(request, anext(partials))
            if parameters.stream:
                return _event_stream(
                    _events(service, parameters, job, first, partials, form.filename), opened.pop_all()
                )
            return _formatted(parameters, job, _counted_transcript(service, parameters, job, first))
    except (ClientDisconnectedError, ClientDisconnect):
        return Response(status_code=CLIENT_DISCONNECTED)  # it is not sent
    except Exception as error:
        raise api_error(error, form.filename) from error
    raise AssertionError("not reached")


async def _received(service: "Service", request: "Request") -> Form:
    """Read the form, within the time limit of a request."""
    content_type, content_length = (request.headers.get(name, "") for name in ("content-type", "content-length"))
    try:
        async with asyncio.timeout(service.settings.max_seconds):
            form = await read_form(request.stream(), content_type, content_length, service.max_bytes, service.folder)
    except TimeoutError as error:
        raise ApiError(408, "The upload took too long.", "timeout") from error
    if service.metrics:
        service.metrics.count_upload(form.size)
    return form


def _checked(service: "Service", form: Form) -> tuple[Parameters, Path]:
    """Validate the request before the recording is decoded."""
    from escoita.utils.languages import matching

    parameters = read_parameters(form.fields)
    if parameters.model not in service.models:
        raise unknown_model(parameters.model)
    if parameters.prompt:
        raise invalid("The model uses the prompt that it was trained with: leave prompt out.", "prompt")
    if form.path is None:
        raise invalid("Send a recording in the field `file`.", "file", "missing_required_parameter")
    service.check_file(form.path, form.size)
    if parameters.language and matching(parameters.language, [service.language_of(parameters.model)]):
        parameters = replace(parameters, language=None)  # the default
    return parameters, form.path


def _counted_transcript(service: "Service", parameters: Parameters, job: Job, last: Partial) -> Transcript:
    assert last.transcript is not None  # noqa: S101  the last one contains it
    if service.metrics:
        seconds = time.monotonic() - job.started
        service.metrics.count_transcript(parameters.model, last.transcript, seconds, last.first_text_seconds)
    return last.transcript


def _formatted(parameters: Parameters, job: Job, transcript: Transcript) -> "Response":
    from starlette.responses import JSONResponse, Response

    if parameters.response_format == "json":
        return JSONResponse(formats.json_body(transcript, parameters.model))
    write, media_type = formats.WRITERS[parameters.response_format]
    return Response(write(job.file or TranscribedFile("", transcript, (), ())), media_type=media_type)


async def _events(
    service: "Service",
    parameters: Parameters,
    job: Job,
    first: Partial,
    partials: AsyncIterator[Partial],
    filename: str,
) -> AsyncIterator[str]:
    """Yield the events of a stream: the new text of each change, and the complete text at the end."""
    sent, partial = "", first
    try:
        while True:
            if len(partial.text) > len(sent) and partial.text.startswith(sent):
                yield _event({"type": "transcript.text.delta", "delta": partial.text[len(sent) :]})
                sent = partial.text
            if partial.transcript is not None:
                transcript = _counted_transcript(service, parameters, job, partial)
                yield _event({"type": "transcript.text.done", "text": transcript.text})
                yield "data: [DONE]\n\n"
                return
            partial = await anext(partials)
    except Exception as error:  # the status is already sent
        yield _event(api_error(error, filename).body())


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _event_stream(events: AsyncIterator[str], opened: ExitStack) -> "Response":
    """Return a stream of events that closes its resources at its end, also if the client disconnects."""
    from starlette.responses import StreamingResponse

    class EventStream(StreamingResponse):
        async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
            with opened:
                await super().__call__(scope, receive, send)

    # A proxy would otherwise buffer the events.
    return EventStream(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _model(service: "Service", name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": service.started, "owned_by": "escoita"}


def _health(service: "Service") -> "Response":
    from starlette.responses import JSONResponse

    if service.loading():
        return JSONResponse({"status": "loading"}, 503)
    service.listener()
    return JSONResponse({"status": "ok"})


def _adapter_bytes(service: "Service") -> dict[str, int]:
    adapters = getattr(service.ready(), "adapters", None)
    return dict(adapters.loaded) if adapters else {}
