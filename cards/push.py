"""
Publish a run: adapter, processor, card and records in one commit, then read back and compared.

    python cards/push.py --run runs/quickstart-uzbek --repo user/name
"""

from escoita.cli.main import script
from escoita.cli.publish import push_run


if __name__ == "__main__":
    script(push_run)
