"""
Generate pages of the site for files of the checkout that docs/ links to, such as `../tests/conftest.py`.

The pages have no address of the repository, so that the site contains the linked files: Markdown as a page, whose
links are followed too; any other file as its text; a folder as a list of its files.
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
    """Add a page for each linked file that is not on the site, including the links of these pages."""
    root = Path(config.docs_dir).parent
    waiting = [target for file in files.documentation_pages() for target in linked(file)]
    while waiting:
        target = waiting.pop()
        if at(target, files) or not (path := root / target).exists():
            continue  # mkdocs reports missing files
        page = File.generated(config, page_of(target), content=shown(path, target))
        page.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(page)
        waiting += linked(page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace the links of a page by the addresses of the linked files on the site."""
    here = posixpath.dirname(page.file.src_uri)

    def replaced(link: re.Match[str]) -> str:
        file = at(normalized(link[1], page.file), files)
        return f"]({posixpath.relpath(file.src_uri, here)}{link[2] or ''})" if file else link[0]

    return _LINK.sub(replaced, markdown)


def at(target: str, files: Files) -> File | None:
    """Return the file of the site for a path of the checkout."""
    inside = files.get_file_from_path(target.removeprefix("docs/")) if target.startswith("docs/") else None
    return inside if inside and inside.inclusion.is_included() else files.get_file_from_path(page_of(target))


def page_of(target: str) -> str:
    """Return the path of the generated page for a file or folder of the checkout."""
    return f"{FOLDER}/{target}.md"


def linked(file: File) -> list[str]:
    """Return the links of a page as paths from the root of the checkout."""
    return [normalized(link[1], file) for link in _LINK.finditer(file.content_string)]


def normalized(link: str, file: File) -> str:
    """Return a link as a path from the root; it is relative to the file of the page in the checkout."""
    path = PurePosixPath(file.src_uri)
    source = path.relative_to(FOLDER) if path.parts[0] == FOLDER else "docs" / path
    return posixpath.normpath(source.parent / link)


def shown(path: Path, target: str) -> str:
    """Return the text of a page for a file or a folder."""
    if path.is_dir():
        names = sorted(f"{item.name}/" if item.is_dir() else item.name for item in path.iterdir())
        listed = "\n".join(f"- `{name}`" for name in names if not name.startswith((".", "_")))
        return f"{_UNSEARCHED}# `{target}/`\n\n{listed}\n"
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return _UNSEARCHED + text
    return f"{_UNSEARCHED}# `{target}`\n\n{_FENCE}{path.suffix[1:]}\n{text}{_FENCE}\n"
