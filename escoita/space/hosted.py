"""
The page as a Space runs it: what it is about stands in `space.yaml`, beside app.py.

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
    """What `space.yaml` holds."""

    title: str
    base: str = Field(description="Repository of the base")
    base_revision: str | None = None
    allow_other_base: bool = False
    dtype: str = "auto"
    adapters: list[str] = Field(
        min_length=1, description="Repositories, or name=repository; the first is offered first"
    )
    space: Space = Space()
    proxy_hops: int = Field(0, ge=0, description="Proxies in front of the page whose X-Forwarded-For is believed")

    def to_yaml(self) -> str:
        """As it stands in the file."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_hosted(path: Path) -> Hosted:
    """
    Reads what a Space is about.

    Raises:
        EscoitaError: Names the file and the key that is wrong.
    """
    try:
        return Hosted.model_validate(read_yaml(path.read_text("utf-8"))[0])
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise EscoitaError(f"{path.name}: cannot be read ({' '.join(str(error).split())})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise EscoitaError(f"{path.name}: {where}: {first['msg']}") from error


def main(root: Path) -> None:
    """
    Serves the page of a Space; ends with 1 and one line where it cannot.

    Args:
        root (`Path`): Folder of the Space; the paths of its examples begin there.
    """
    os.chdir(root)
    # Spaces say by these where visitors are let in.
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
