"""Add the headers of every response of the Hub: the remaining rate limit, and an id of the request."""

import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


_HEADERS = {
    "RateLimit": '"api";r=999;t=300',  # remaining requests, and seconds until the reset
    "RateLimit-Policy": '"fixed window";"api";q=1000;w=300',
}


class CommonHeaders:
    """Add these headers, unless the response (or a fault) has them (ASGI middleware)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def add_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (_HEADERS | {"X-Request-Id": f"Root=1-{uuid.uuid4().hex}"}).items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, add_and_send)
