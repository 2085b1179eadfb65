"""Report the language of a recipe: its name, script, and codes in Whisper, FLEURS and MMS."""

from collections.abc import Iterator

from escoita.recipe.schema import Recipe
from escoita.training.preflight.checks import Finding
from escoita.utils.languages import language_codes, name_and_tag


def find_language(recipe: Recipe) -> Iterator[Finding]:
    """
    Report the name of the language, its script and its codes.

    Args:
        recipe ([`Recipe`]): The recipe, which names the language.
    """
    codes = language_codes(recipe.language)
    others = {"Whisper": codes.whisper, "FLEURS": codes.fleurs, "MMS": codes.mms}
    found = [f"{name} {code or 'does not have it'}" for name, code in others.items()]
    text = f"{name_and_tag(codes.tag)}, script {codes.script}, ISO 639 {codes.iso639}"
    yield Finding("ok", "language", f"{text}; {', '.join(found)}")
