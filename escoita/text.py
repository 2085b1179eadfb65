"""What is done to references and hypotheses before edits are counted."""

from collections.abc import Callable
from functools import cache


@cache
def normalizer(name: str) -> Callable[[str], str]:
    """
    Finds a normaliser by its name in a recipe.

    `raw` changes nothing. `basic` is Whisper's BasicTextNormalizer as transformers has it (Radford et al. 2022):
    lower case, punctuation to spaces; it keeps accents and ñ, splits words at apostrophes, and drops what stands in
    brackets.

    Args:
        name (`str`): `raw` or `basic`.
    """
    if name == "raw":
        return str
    if name == "basic":
        from transformers.models.whisper.english_normalizer import BasicTextNormalizer

        basic = BasicTextNormalizer()
        return lambda text: basic(text).strip()
    raise ValueError(f"no normaliser is called {name!r}")
