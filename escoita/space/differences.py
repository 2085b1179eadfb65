"""Compare two texts word by word, and compute error rates if one is a reference."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from escoita.metrics.normalizers import UNNORMALIZED, normalizer
from escoita.metrics.wer import Chunk, align, character_edits, word_edits
from escoita.space.texts import translate
from escoita.utils.formatting import percent
from escoita.utils.languages import text_direction


# Text and background color of each kind of difference.
LIGHT = {"gone": ("#a3183a", "#fde7ec"), "new": ("#0d4f90", "#e2eefa")}
DARK = {"gone": ("#ff94ab", "#431a26"), "new": ("#8cc1f7", "#142c43")}
# Words of both texts together; half an hour of speech has far fewer.
MAX_WORDS = 20_000


@dataclass(frozen=True)
class Comparison:
    """
    Store two texts that are aligned word by word.

    Args:
        chunks (`list[Chunk]`): The alignment of the normalized texts.
        wer (`float`, *optional*): The word error rate as a fraction; `None` without a reference, or if it is empty.
        cer (`float`, *optional*): The character error rate as a fraction.
        normalizer (`str`): The name of the text normalizer.
    """

    chunks: list[Chunk]
    wer: float | None
    cer: float | None
    normalizer: str

    @property
    def same(self) -> bool:
        """Return whether the words of both texts are equal."""
        return all(chunk.kind == "equal" for chunk in self.chunks)


def compare(first: str, second: str, normalizer_name: str = "raw", reference: bool = False) -> Comparison:
    """
    Align two texts like the report of an evaluation.

    Args:
        first (`str`): The prediction of the base, or the reference.
        second (`str`): The prediction of the adapter.
        normalizer_name (`str`, *optional*, defaults to `"raw"`): One of [`~escoita.metrics.normalizers.NORMALIZERS`].
        reference (`bool`, *optional*, defaults to `False`): Whether the first text is a reference; if so, the error
            rates are computed.

    Raises:
        ValueError: The normalizer does not exist.
    """
    normalize = normalizer(normalizer_name)
    first, second = normalize(first), normalize(second)
    wer = cer = None
    if reference and first.strip():
        wer, cer = (count([first], [second]).rate for count in (word_edits, character_edits))
    return Comparison(align(first, second), wer, cer, normalizer_name)


def marked(comparison: Comparison, first: str, second: str, spoken_language: str, language: str = "en") -> str:
    """
    Return the HTML of a comparison.

    Words that are only in the first text are struck through, words that are only in the second text are underlined.

    Args:
        comparison ([`Comparison`]): The result of [`compare`].
        first (`str`): The name of the first text on the page.
        second (`str`): The name of the second text on the page.
        spoken_language (`str`): The tag of the language of both texts, for screen readers.
        language (`str`, *optional*, defaults to `"en"`): The language of the page.

    Returns:
        `str`: Escaped HTML; the page needs [`CSS`].
    """
    legend = (
        f'<p class="legend"><del>{html.escape(translate("differences.only", language, name=first))}</del> '
        f"<ins>{html.escape(translate('differences.only', language, name=second))}</ins></p>"
    )
    if comparison.same:
        legend = f'<p class="legend">{html.escape(translate("differences.none", language))}</p>'
    words = " ".join(_pieces(comparison.chunks))
    text = (
        f'<p class="words" lang="{html.escape(spoken_language)}" dir="{text_direction(spoken_language)}">{words}</p>'
        if words
        else ""
    )
    return f'<div class="differences">{legend}{text}{_rates(comparison, language)}</div>'


def too_long(*texts: str) -> bool:
    """Return whether texts have too many words in total to be shown."""
    return sum(len(text.split()) for text in texts) > MAX_WORDS


def _pieces(chunks: Sequence[Chunk]) -> list[str]:
    pieces = []
    for chunk in chunks:
        if chunk.kind == "equal":
            pieces.append(html.escape(" ".join(chunk.hypothesis)))
            continue
        # Screen readers may not distinguish `del` from `ins`; the order does: the first text comes first.
        pieces += [f"<del>{html.escape(' '.join(chunk.reference))}</del>"] if chunk.reference else []
        pieces += [f"<ins>{html.escape(' '.join(chunk.hypothesis))}</ins>"] if chunk.hypothesis else []
    return pieces


def _rates(comparison: Comparison, language: str) -> str:
    if comparison.wer is None or comparison.cer is None:
        return ""
    rates = translate("differences.rates", language, wer=percent(comparison.wer), cer=percent(comparison.cer))
    key = "differences.raw" if comparison.normalizer in UNNORMALIZED else "differences.normalized"
    note = translate(key, language, name=comparison.normalizer)
    return f'<p class="rates"><strong>{html.escape(rates)}</strong> {html.escape(note)}</p>'


def _colors(scope: str, scheme: dict[str, tuple[str, str]]) -> str:
    return "".join(
        f"{scope}.differences {tag} {{ color: {scheme[kind][0]}; background: {scheme[kind][1]}; }}\n"
        for tag, kind in (("del", "gone"), ("ins", "new"))
    )


CSS = f"""
.differences {{ overflow-wrap: anywhere; }}
.differences p {{ margin: .4rem 0; }}
.differences .words {{ line-height: 1.7; }}
.differences .legend, .differences .rates {{ font-size: .9rem; }}
.differences del, .differences ins {{ padding: .05em .25em; border-radius: .2em; }}
.differences del {{ text-decoration: line-through; }}
.differences ins {{ text-decoration: underline; text-decoration-thickness: 2px; text-underline-offset: .2em; }}
{_colors("", LIGHT)}{_colors(".dark ", DARK)}"""
