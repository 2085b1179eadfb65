"""Two texts beside one another: words that differ are told by colour and by a sign, rates where one is a reference."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from escoita.metrics.normalizers import normalizer
from escoita.metrics.wer import Chunk, align, character_edits, word_edits
from escoita.space.texts import say
from escoita.utils.formatting import percent


# Ink and ground of each kind of difference; the page itself is as Gradio's theme has it.
LIGHT = {"gone": ("#a3183a", "#fde7ec"), "new": ("#0d4f90", "#e2eefa")}
DARK = {"gone": ("#ff94ab", "#431a26"), "new": ("#8cc1f7", "#142c43")}
# Of both texts together; half an hour of speech is far from it.
MOST_WORDS = 20_000


@dataclass(frozen=True)
class Comparison:
    """
    Two texts, aligned word by word.

    Args:
        chunks (`list[Chunk]`): Both texts as the normaliser leaves them.
        wer (`float`, *optional*): Edits in words over words of the first text, a fraction; none where neither is a
            reference, or where the reference is empty.
        cer (`float`, *optional*): The same in characters.
        normalizer (`str`): What made the texts alike.
    """

    chunks: list[Chunk]
    wer: float | None
    cer: float | None
    normalizer: str

    @property
    def same(self) -> bool:
        """Whether no word differs."""
        return all(chunk.kind == "equal" for chunk in self.chunks)


def compare(first: str, second: str, normalizer_name: str = "raw", reference: bool = False) -> Comparison:
    """
    Aligns two texts as the report of an evaluation does.

    Args:
        first (`str`): What the base heard, or what was said.
        second (`str`): What the adapter heard.
        normalizer_name (`str`, *optional*, defaults to `"raw"`): One of [`~escoita.metrics.normalizers.NORMALIZERS`].
        reference (`bool`, *optional*, defaults to `False`): The first is what was said: rates are counted.

    Raises:
        ValueError: No normaliser has this name.
    """
    alike = normalizer(normalizer_name)
    first, second = alike(first), alike(second)
    wer = cer = None
    if reference and first.strip():
        wer, cer = (count([first], [second]).rate for count in (word_edits, character_edits))
    return Comparison(align(first, second), wer, cer, normalizer_name)


def marked(comparison: Comparison, first: str, second: str, spoken_language: str, language: str = "en") -> str:
    """
    HTML of a comparison: words of the first text alone are struck through, those of the second alone underlined.

    Args:
        comparison ([`Comparison`]): As made by [`compare`].
        first (`str`): What the page calls the first text.
        second (`str`): What it calls the second one.
        spoken_language (`str`): ISO code of the language of both texts, for screen readers.
        language (`str`, *optional*, defaults to `"en"`): Of the page.

    Returns:
        `str`: Escaped; it wants [`CSS`] on the page.
    """
    legend = (
        f'<p class="legend"><del>{html.escape(say("differences.only", language, name=first))}</del> '
        f"<ins>{html.escape(say('differences.only', language, name=second))}</ins></p>"
    )
    if comparison.same:
        legend = f'<p class="legend">{html.escape(say("differences.none", language))}</p>'
    words = " ".join(_pieces(comparison.chunks))
    text = f'<p class="words" lang="{html.escape(spoken_language)}" dir="auto">{words}</p>' if words else ""
    return f'<div class="differences">{legend}{text}{_rates(comparison, language)}</div>'


def too_long(*texts: str) -> bool:
    """Whether texts have more words together than can be shown."""
    return sum(len(text.split()) for text in texts) > MOST_WORDS


def _pieces(chunks: Sequence[Chunk]) -> list[str]:
    pieces = []
    for chunk in chunks:
        if chunk.kind == "equal":
            pieces.append(html.escape(" ".join(chunk.hypothesis)))
            continue
        # Read aloud, a browser need not tell `del` from `ins`; so both also differ in order: the first comes first.
        pieces += [f"<del>{html.escape(' '.join(chunk.reference))}</del>"] if chunk.reference else []
        pieces += [f"<ins>{html.escape(' '.join(chunk.hypothesis))}</ins>"] if chunk.hypothesis else []
    return pieces


def _rates(comparison: Comparison, language: str) -> str:
    if comparison.wer is None or comparison.cer is None:
        return ""
    rates = say("differences.rates", language, wer=percent(comparison.wer), cer=percent(comparison.cer))
    how = "differences.raw" if comparison.normalizer == "raw" else "differences.normalized"
    note = say(how, language, name=comparison.normalizer)
    return f'<p class="rates"><strong>{html.escape(rates)}</strong> {html.escape(note)}</p>'


def _colours(scope: str, scheme: dict[str, tuple[str, str]]) -> str:
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
{_colours("", LIGHT)}{_colours(".dark ", DARK)}"""
