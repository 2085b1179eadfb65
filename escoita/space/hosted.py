"""
Run the page in a Space, with the settings in `space.yaml` next to app.py.

    python app.py
"""

import os
import sys
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from escoita.errors import EscoitaError
from escoita.recipe.schema import Section, Space
from escoita.utils.untrusted import read_yaml


SETTINGS = "space.yaml"


class Hosted(Section):
    """Hold the settings in `space.yaml`."""

    title: str
    base: str = Field(description="Repository of the base model")
    base_revision: str | None = None
    allow_other_base: bool = False
    dtype: str = "auto"
    adapters: list[str] = Field(min_length=1, description="Repositories, or name=repository; the first is the default")
    space: Space = Space()
    proxy_hops: int = Field(
        0, ge=0, description="Number of proxies in front of the page whose X-Forwarded-For is trusted"
    )

    def to_yaml(self) -> str:
        """Return the content of the file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_hosted(path: Path) -> Hosted:
    """
    Read the settings of a Space.

    Args:
        path (`Path`): The file `space.yaml`.

    Raises:
        EscoitaError: The file cannot be read, or a key is invalid.
    """
    try:
        return Hosted.model_validate(read_yaml(path.read_text("utf-8"))[0])
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise EscoitaError(f"cannot be read ({' '.join(str(error).split())})", path=path.name) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or None
        raise EscoitaError(first["msg"], path=path.name, key=key) from error


def main(root: Path) -> None:
    """
    Serve the page of a Space; exit with status 1 and a one-line message after an error.

    Args:
        root (`Path`): The folder of the Space; paths of examples are relative to it.
    """
    os.chdir(root)
    # Spaces set these variables.
    port, host = os.environ.get("GRADIO_SERVER_PORT"), os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    try:
        hosted = read_hosted(root / SETTINGS)
        from escoita.space.app import serve
        from escoita.space.demo import of_sources

        demo = of_sources(
            hosted.base,
            hosted.adapters,
            hosted.space,
            hosted.title,
            hosted.base_revision,
            hosted.dtype,
            hosted.allow_other_base,
        )
        serve(demo, int(port) if port else None, host, hosted.proxy_hops)
    except EscoitaError as error:
        sys.exit(f"escoita: {error}")
