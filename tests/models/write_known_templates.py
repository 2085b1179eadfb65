"""
Write `escoita/models/chat_templates.py`: digests of the chat templates in this checkout and in TRL.

`python -m tests.models.write_known_templates`; a template that an older TRL ships stays in the list.
"""

from pathlib import Path

import trl

from escoita.models.chat_templates import KNOWN_TEMPLATES, digest
from tests.conftest import ROOT


HEAD = '''"""
Digests of chat templates that are rendered without a process of their own: those of the quick start's bases, and those
that TRL ships, which are copies of what the publishers of well-known models have published.

Written by `python -m tests.models.write_known_templates`.
"""

# By the SHA-256 of the source; see [`~escoita.models.chat_templates.digest`].
KNOWN_TEMPLATES: dict[str, str] = {
'''


def known_templates() -> dict[str, str]:
    """Return the names of the available templates by their digests."""
    ours = {f"quickstart/{path.parent.name}": path for path in ROOT.glob("quickstart/*/chat_template.jinja")}
    theirs = {f"trl/{path.stem}": path for path in (Path(trl.__file__).parent / "chat_templates").glob("*.jinja")}
    return {digest(path.read_text("utf-8")): name for name, path in sorted((ours | theirs).items())}


if __name__ == "__main__":
    entries = sorted((KNOWN_TEMPLATES | known_templates()).items(), key=lambda entry: entry[1])
    lines = "".join(f'    "{known}": "{name}",\n' for known, name in entries)
    (ROOT / "escoita/models/chat_templates.py").write_text(f"{HEAD}{lines}}}\n", "utf-8")
