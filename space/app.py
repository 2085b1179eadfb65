"""
Serve the page: a base and its adapters, for the microphone or a file.

    python space/app.py --run runs/quickstart-uzbek
"""

from escoita.cli.main import script
from escoita.cli.space import space_run


if __name__ == "__main__":
    script(space_run)
