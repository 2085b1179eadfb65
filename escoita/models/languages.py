"""
Match language codes: corpora write `uz`, Whisper `<|uz|>`, and MMS `uzb-script_latin`.

Codes are compared by the aliases of Unicode CLDR, which Babel holds: `uzb` and `uzn` are `uz`.
"""

import re
from collections.abc import Iterable


# What CLDR holds apart and models do not: Bokmål is what corpora call Norwegian, and MMS calls Malay `zlm`.
_BROADER = {"nb": "no", "zlm": "ms"}
_CODE = re.compile(r"([a-z]{2,3})(?:-([a-z0-9_-]+))?")


def matching(language: str, known: Iterable[str]) -> str | None:
    """
    Find the code of a model for a language.

    Args:
        language (`str`): Code of ISO 639, of two or three letters.
        known (`Iterable[str]`): Codes of the model; those of MMS may name a script or a dialect behind a hyphen.

    Returns:
        `str`: The code itself if the model has it; else one that means the same, of several the one in the script that
        the language is usually written in, else the shortest; `None` if the model does not know the language.
    """
    codes = {code: found for code in known if (found := _CODE.fullmatch(code))}
    if language in codes:
        return language
    same = [code for code, found in codes.items() if canonical(found[1]) == canonical(language)]
    script = f"script_{usual_script(language)}"
    return min(same, key=lambda code: (codes[code][2] not in (None, script), len(code), code), default=None)


def canonical(code: str) -> str:
    """Return the code that CLDR prefers for a language, such as `uz` for `uzb`."""
    from babel.core import get_global

    preferred = str(get_global("language_aliases").get(code, code))
    return _BROADER.get(preferred, preferred)


def usual_script(code: str) -> str:
    """Return the English name of the script that a language is usually written in, such as `latin`; else nothing."""
    from babel import Locale
    from babel.core import get_global

    likely = str(get_global("likely_subtags").get(canonical(code), ""))
    scripts = Locale("en").scripts
    return next((scripts[part].lower() for part in likely.split("_") if part in scripts), "")
