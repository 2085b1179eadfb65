"""Find the folders of templates, texts and data, which are next to the package in a checkout, and in it in a wheel."""

from pathlib import Path


PACKAGE = Path(__file__).resolve().parent


def resource(folder: str) -> Path:
    """
    Return a folder of the checkout, or the copy of it that the wheel contains.

    Args:
        folder (`str`): Path relative to the root of the checkout, such as `cards/templates`.
    """
    packaged = PACKAGE / "_data" / folder
    return packaged if packaged.is_dir() else PACKAGE.parent / folder
