"""
Pages of the site for files of the checkout that links of docs/ lead to, such as `../tests/conftest.py`.

The repository has no address here that links could name, so that the site brings with it what it points to: Markdown
as a page, whose own links are followed too, any other file as its text, a folder as the list of what is in it.
"""

import posixpath
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page


FOLDER = "source"
_LINK = re.compile(r"\]\((?!\w+:|#|/)([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = "``````"
_UNSEARCHED = "---\nsearch: {exclude: true}\n---\n\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for all that pages link to and the site does not have, and for what those link to."""
    root = Path(config.docs_dir).parent
    waiting = [target for file in files.documentation_pages() for target in linked(file)]
    while waiting:
        target = waiting.pop()
        if at(target, files) or not (path := root / target).exists():
            continue  # what is not there, mkdocs complains of
        page = File.generated(config, page_of(target), content=shown(path, target))
        page.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(page)
        waiting += linked(page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links of a page to where the site has what they name."""
    here = posixpath.dirname(page.file.src_uri)

    def turned(link: re.Match[str]) -> str:
        file = at(normalized(link[1], page.file), files)
        return f"]({posixpath.relpath(file.src_uri, here)}{link[2] or ''})" if file else link[0]

    return _LINK.sub(turned, markdown)


def at(target: str, files: Files) -> File | None:
    """The file of the site that shows what stands at a path of the checkout."""
    inside = files.get_file_from_path(target.removeprefix("docs/")) if target.startswith("docs/") else None
    return inside if inside and inside.inclusion.is_included() else files.get_file_from_path(page_of(target))


def page_of(target: str) -> str:
    """The page that is made for a file or folder of the checkout."""
    return f"{FOLDER}/{target}.md"


def linked(file: File) -> list[str]:
    """What the text of a page links to, as paths from the root of the checkout."""
    return [normalized(link[1], file) for link in _LINK.finditer(file.content_string)]


def normalized(link: str, file: File) -> str:
    """A link as a path from the root: a page is read where its text stands in the checkout."""
    path = PurePosixPath(file.src_uri)
    source = path.relative_to(FOLDER) if path.parts[0] == FOLDER else "docs" / path
    return posixpath.normpath(source.parent / link)


def shown(path: Path, target: str) -> str:
    """The text of a page for a file or a folder."""
    if path.is_dir():
        names = sorted(f"{item.name}/" if item.is_dir() else item.name for item in path.iterdir())
        listed = "\n".join(f"- `{name}`" for name in names if not name.startswith((".", "_")))
        return f"{_UNSEARCHED}# `{target}/`\n\n{listed}\n"
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return _UNSEARCHED + text
    return f"{_UNSEARCHED}# `{target}`\n\n{_FENCE}{path.suffix[1:]}\n{text}{_FENCE}\n"
