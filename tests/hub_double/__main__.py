"""Run the double as a separate process until it is interrupted.

python -m tests.hub_double --root DIR --port 8080 --xet
"""

import argparse
import contextlib
import threading
from pathlib import Path

from .server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hub_double", description="Serve a double of the Hub API.")
    parser.add_argument("--root", type=Path, required=True, help="folder for blobs and Xet storage")
    parser.add_argument("--port", type=int, default=0, help="port of 127.0.0.1 (default: a free one)")
    parser.add_argument("--xet", action="store_true", help="offer Xet storage")
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt), serve(args.root, port=args.port, xet=args.xet) as hub:
        print(f"HF_ENDPOINT={hub.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
