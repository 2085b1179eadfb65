"""
Serve a page that transcribes with a base and its adapters, from the microphone or a file.

    python space/app.py --run runs/quickstart-uzbek
"""

from escoita.cli.main import script
from escoita.cli.space import space_run


if __name__ == "__main__":
    script(space_run)
