"""
Check what a repository claims against what was published with it.

    python cards/verify.py user/name
"""

from escoita.cli.main import script
from escoita.cli.publish import verify


if __name__ == "__main__":
    script(verify)
