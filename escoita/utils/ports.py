"""Find a free port to listen on."""

import socket

from escoita.utils.processes import say


DEFAULT_PORT = 7860
ATTEMPTS = 100


def port_or_next(port: int | None, host: str, default: int = DEFAULT_PORT) -> int:
    """
    Return the port that was chosen, or else the first free one from the default on, and say so if it is another one.

    Args:
        port (`int`, *optional*): The port that the user chose; it may be in use, which is an error later.
        host (`str`): The address to listen on.
        default (`int`, *optional*, defaults to 7860): The first port to try.
    """
    if port is not None:
        return port
    for each in range(default, min(default + ATTEMPTS, 65536)):
        if is_free(each, host):
            if each != default:
                say(f"Port {default} is in use; using {each}")
            return each
    return default


def is_free(port: int, host: str) -> bool:
    """Return whether a port can be listened on."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
    except OSError:
        return False
    return True
