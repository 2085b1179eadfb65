"""Report the language of a recipe and its codes, and transcripts whose text is not what was spoken."""

from collections.abc import Iterator

from escoita.data.rows import Utterances
from escoita.data.transcripts import text_outliers
from escoita.metrics.normalizers import mark_changes
from escoita.recipe.schema import Recipe
from escoita.records.data import TextOutlierKind
from escoita.training.preflight.checks import Finding, Mark
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


# The advice on each kind of transcripts that the text alone shows to be wrong.
ADVICE: dict[TextOutlierKind, tuple[str, str]] = {
    "unicode": ("decomposed characters, unlike others", "none needed unless corpora.compose is false"),
    "invisible": ("zero-width or no-break characters", "replace them"),
    "entity": ("HTML entities", "decode them, as html.unescape of Python does"),
    "placeholder": ("a missing value as text", "leave these rows out"),
    "note": ("text in brackets", "leave it out, unless it is spoken"),
}


def find_texts(recipe: Recipe, about: str, rows: Utterances) -> Iterator[Finding]:
    """
    Report the transcripts of a corpus whose text is not what was spoken, and words that the normalizer splits.

    Args:
        recipe ([`Recipe`]): The recipe, with the normalizer.
        about (`str`): The split and the name of the corpus.
        rows ([`~escoita.data.rows.Utterances`]): The rows of the corpus.
    """
    for kind, details in text_outliers(rows.each("text")).items():
        if details:
            index, detail = next(iter(details.items()))
            what, advice = ADVICE[kind]
            first = rows[index]
            found = f"{what} in {len(details):,} of {len(rows):,} transcripts"
            mark: Mark = "ok" if kind == "unicode" and recipe.corpora.compose else "warning"
            place = f"{first.source}:{first.row}: {detail}: {first.text[:80]}"
            yield Finding(mark, about, found, advice if mark == "warning" else "", (place,))
    if recipe.eval.normalizer == "basic" and (marks := mark_changes(rows.each("text"))).words:
        yield Finding("warning", about, str(marks), "set eval.normalizer: unicode")
