"""Find the code of a model for a language."""

import re
from collections.abc import Iterable


# Codes that CLDR distinguishes and models do not: corpora call Bokmål Norwegian, and MMS calls Malay `zlm`.
_BROADER = {"nb": "no", "zlm": "ms"}
_CODE = re.compile(r"([a-z]{2,3})(?:-([a-z0-9_-]+))?")


def matching(language: str, known: Iterable[str]) -> str | None:
    """
    Find the code of a model for a language.

    Args:
        language (`str`): The ISO 639 code of the language, of two or three letters.
        known (`Iterable[str]`): The codes of the model; those of MMS may have a script or a dialect after a hyphen.

    Returns:
        `str`, *optional*: The code itself if the model has it, else an equivalent code, preferably in the usual script
        of the language and then the shortest; `None` if the model does not support the language.
    """
    codes = {code: found for code in known if (found := _CODE.fullmatch(code))}
    if language in codes:
        return language
    same = [code for code, found in codes.items() if canonical(found[1]) == canonical(language)]
    script = f"script_{usual_script(language)}"
    return min(same, key=lambda code: (codes[code][2] not in (None, script), len(code), code), default=None)


def canonical(code: str) -> str:
    """Return the preferred code of a language in CLDR, such as `uz` for `uzb`."""
    from babel.core import get_global

    preferred = str(get_global("language_aliases").get(code, code))
    return _BROADER.get(preferred, preferred)


def usual_script(code: str) -> str:
    """Return the English name of the usual script of a language, such as `latin`; empty if it is not known."""
    from babel import Locale
    from babel.core import get_global

    likely = str(get_global("likely_subtags").get(canonical(code), ""))
    scripts = Locale("en").scripts
    return next((scripts[part].lower() for part in likely.split("_") if part in scripts), "")


# The distance in CLDR of languages that share only their script; see `langcodes.tag_distance`.
_UNRELATED = 84


def closest(language: str, known: Iterable[str], most: int = 3) -> list[str]:
    """
    Return the codes of the closest languages by the distances of CLDR, the closest first.

    CLDR measures whether the readers of a language also read another one, and whether both are used in one place.

    Args:
        language (`str`): The ISO 639 code of the language.
        known (`Iterable[str]`): The codes of the model.
        most (`int`, *optional*, defaults to 3): The largest number of codes.
    """
    import langcodes

    distances = sorted((langcodes.tag_distance(language, code), code) for code in known if _CODE.fullmatch(code))
    return [code for distance, code in distances[:most] if distance < _UNRELATED]
