"""
Write the model card of a run, from its records alone.

    python cards/build.py --run runs/quickstart-uzbek
"""

from escoita.cli.main import script
from escoita.cli.publish import card


if __name__ == "__main__":
    script(card)
