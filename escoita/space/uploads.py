"""What programs send: no address of a recording somewhere else, and nothing that stays."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from escoita.inference.fairness import Client
from escoita.space.clients import HEADER, Clients
from escoita.space.texts import say


if TYPE_CHECKING:
    import gradio as gr


def refuse_addresses(page: "gr.Blocks") -> None:
    """
    Keeps a page from fetching files from other machines.

    Gradio refuses paths of the machine that it runs on, but fetches what an API call names by its address. Each
    component is asked before it takes a file: there an address is refused.

    Args:
        page (`gr.Blocks`): Laid out.
    """
    from gradio.components import Component

    for block in page.blocks.values():
        if isinstance(block, Component):
            _guard(block)


def delete_what_models_send(page: "gr.Blocks", clients: Clients) -> None:
    """
    Has recordings that come over the Model Context Protocol counted and deleted as uploads are.

    Gradio writes such a recording to a file before it uploads it to itself, and forgets that file. It uploads it
    without saying for whom; so it is counted here, and not as an upload of this machine.

    Args:
        page (`gr.Blocks`): Launched; nothing is done where it has no MCP server.
        clients ([`~escoita.space.clients.Clients`]): Counts them.
    """
    server: Any = page.mcp_server_obj
    if server is None:
        return
    convert, connect = server.convert_strings_to_filedata, server._get_or_create_client
    inner = clients.header(Client("mcp", None))

    def converted(value: Any, positions: list[list[str | int]]) -> Any:
        given = convert(value, positions)
        files = [each["path"] for each in given.values() if isinstance(each, dict) and "path" in each]
        page.upload_file_set.update(files)
        client = clients.known(server.mcp_server.request_context.request.headers)
        for path in map(Path, files):
            if client is not None and path.is_file():
                clients.take_upload(client, path.stat().st_size)
        return given

    def connected() -> Any:
        connection = connect()
        connection.headers[HEADER] = inner
        return connection

    server.convert_strings_to_filedata, server._get_or_create_client = converted, connected


def _guard(block: "gr.components.Component") -> None:
    import gradio as gr
    from gradio_client.utils import is_http_url_like

    take = block.async_move_resource_to_block_cache

    async def guarded(source: str | Path | None) -> str | None:
        if source is not None and is_http_url_like(str(source)):
            raise gr.Error(say("refusal.address"), duration=None, print_exception=False)
        path: str | None = await take(source)
        return path

    block.async_move_resource_to_block_cache = guarded
