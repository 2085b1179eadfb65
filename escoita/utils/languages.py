"""Map the tag of a language (BCP 47) to the codes of ISO 639, Whisper, FLEURS and MMS, its name and its script."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from unicodedata import bidirectional

from escoita.errors import EscoitaError


# Codes that CLDR distinguishes and models do not: corpora call Bokmål Norwegian, MMS calls Malay `zlm`, and Whisper
# calls Filipino Tagalog and writes the code of Javanese as in an older standard.
_BROADER = {"nb": "no", "zlm": "ms", "tgl": "fil", "tl": "fil", "jw": "jv"}
_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*")
# The code of a model: a language, and the script, region or dialect after a hyphen or an underscore.
_CODE = re.compile(r"([a-z]{2,3})(?:[-_]([a-z0-9_-]+))?")

# The languages of Whisper (Radford et al. 2022), by the codes of its tokens. A model itself may have fewer.
WHISPER = tuple(
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml"
    " cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu"
    " am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue".split()
)
# The configurations of FLEURS (Conneau et al. 2022).
FLEURS = tuple(
    "af_za am_et ar_eg as_in ast_es az_az be_by bg_bg bn_in bs_ba ca_es ceb_ph ckb_iq cmn_hans_cn cs_cz cy_gb da_dk"
    " de_de el_gr en_us es_419 et_ee fa_ir ff_sn fi_fi fil_ph fr_fr ga_ie gl_es gu_in ha_ng he_il hi_in hr_hr hu_hu"
    " hy_am id_id ig_ng is_is it_it ja_jp jv_id ka_ge kam_ke kea_cv kk_kz km_kh kn_in ko_kr ky_kg lb_lu lg_ug ln_cd"
    " lo_la lt_lt luo_ke lv_lv mi_nz mk_mk ml_in mn_mn mr_in ms_my mt_mt my_mm nb_no ne_np nl_nl nso_za ny_mw oc_fr"
    " om_et or_in pa_in pl_pl ps_af pt_br ro_ro ru_ru sd_in sk_sk sl_si sn_zw so_so sr_rs sv_se sw_ke ta_in te_in"
    " tg_tj th_th tr_tr uk_ua umb_ao ur_pk uz_uz vi_vn wo_sn xh_za yo_ng yue_hant_hk zu_za".split()
)
# The codes of MMS (Pratap et al. 2023) that are not simply the code of ISO 639-3, the usual script first.
_MMS = {
    "az": ("azj-script_latin", "azj-script_cyrillic"),
    "crh": ("crh-script_cyrillic", "crh-script_latin"),
    "et": ("est",),
    "fil": ("tgl",),
    "ku": ("kmr-script_latin", "kmr-script_arabic", "kmr-script_cyrillic"),
    "lv": ("lav",),
    "ms": ("zlm",),
    "ne": ("npi",),
    "no": ("nob",),
    "or": ("ory",),
    "sr": ("srp-script_latin", "srp-script_cyrillic"),
    "sw": ("swh",),
    "tk": ("tuk-script_latin", "tuk-script_arabic"),
    "ug": ("uig-script_arabic", "uig-script_cyrillic"),
    "ur": ("urd-script_arabic", "urd-script_devanagari", "urd-script_latin"),
    "uz": ("uzb-script_latin", "uzb-script_cyrillic"),
    "yue": ("yue-script_traditional",),
    "zh": ("cmn-script_simplified",),
}
# The scripts of ISO 15924 that are written from right to left.
RIGHT_TO_LEFT = {"Adlm", "Arab", "Aran", "Hebr", "Mand", "Mend", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa"}
# The scripts that are written without spaces between words. Korean has spaces (`Kore`), and so has a Chinese language
# in Latin script.
_WITHOUT_SPACES = set("Thai Laoo Khmr Mymr Tibt Hani Hans Hant Bopo Jpan Hira Kana Hrkt Lana Talu Java Bali".split())


class LanguageError(ValueError):
    """Report a text that is not the tag of a known language."""


@cache
def language_tag(text: str) -> str:
    """
    Return a tag with the usual case and hyphens: `uz-Latn` for `UZ_latn`. The code of the language itself is kept.

    Args:
        text (`str`): A BCP 47 tag, or a code of ISO 639-1 or 639-3.

    Raises:
        LanguageError: It is not a tag, or its language or script is not registered.
    """
    import langcodes

    if not _TAG.fullmatch(text):
        raise LanguageError(f"{text!r} is not a language tag")
    try:
        known = langcodes.Language.get(text).is_valid()
    except ValueError:
        known = False
    if not known:
        raise LanguageError(f"{text!r} is not the tag of a known language")
    return langcodes.Language.get(text, normalize=False).to_tag()


def is_language_tag(text: str) -> bool:
    """Return whether a text is the tag of a known language; see [`language_tag`]."""
    try:
        return bool(language_tag(text))
    except LanguageError:
        return False


def suggested_tag(name: str) -> str | None:
    """Return the tag of a language that is written as a name, in any language, or as another kind of tag."""
    import langcodes

    try:
        return langcodes.find(name).language
    except LookupError:
        return language_tag(name) if is_language_tag(name) else None


def check_language(language: str) -> str:
    """
    Return the tag that `--language` gives, with the usual case; see [`language_tag`].

    Raises:
        EscoitaError: It is not the tag of a known language.
    """
    try:
        return language_tag(language)
    except LanguageError as error:
        meant = suggested_tag(language)
        hint = f"write {meant}" if meant else "write a tag, such as gl or uz-Latn"
        raise EscoitaError("not a language tag", key="--language", value=language, hint=hint) from error


@cache
def canonical(code: str) -> str:
    """Return the preferred code of the language of a tag in CLDR, such as `uz` for `uzb` and `uz-Latn`."""
    from babel.core import get_global

    language = re.split("[-_]", code, maxsplit=1)[0].lower()
    preferred = str(get_global("language_aliases").get(language, language)).partition("_")[0]
    return _BROADER.get(preferred, preferred)


@cache
def script_of_language(tag: str) -> str:
    """Return the code of ISO 15924 of the script of a tag, or the usual script of the language; empty if unknown."""
    import langcodes

    try:
        language = langcodes.Language.get(tag) if tag else None
    except ValueError:
        return ""
    if language is None or not language.is_valid():
        return ""
    return language.script or language.maximize().script or ""


def names_script(tag: str) -> bool:
    """Return whether a tag names its script, as `uz-Latn` does."""
    return any(len(part) == 4 and part.isalpha() for part in tag.split("-")[1:])


def same_language(tag: str, other: str) -> bool:
    """
    Return whether a tag is of the language of another one, and names no other script.

    Args:
        tag (`str`): The tag; without a script, it may be in any.
        other (`str`): The other tag; without a script, it is in the usual one.
    """
    if canonical(tag) != canonical(other):
        return False
    return not names_script(tag) or script_of_language(tag) == script_of_language(other)


@cache
def _script_name(code: str) -> str:
    """Return the first word of the English name of a script, as codes of MMS write it: `latin`, `simplified`."""
    from babel import Locale

    return str(Locale("en").scripts.get(code, "")).lower().partition(" ")[0]


def iso639(tag: str) -> str:
    """
    Return the code of the language of a tag, that of ISO 639-1 if there is one; the Hub lists models under it.

    Args:
        tag (`str`): The tag of the language.
    """
    import langcodes

    language = re.split("[-_]", tag, maxsplit=1)[0].lower()
    try:
        preferred = langcodes.Language.get(language).language or language
    except ValueError:
        return language
    return preferred if len(preferred) == 2 else language


def matching(tag: str, known: Iterable[str]) -> str | None:
    """
    Find the code of a model for a language.

    Args:
        tag (`str`): The tag of the language, or the code of ISO 639.
        known (`Iterable[str]`): The codes of the model; those of MMS may have a script or a dialect after a hyphen.

    Returns:
        `str`, *optional*: The code itself if the model has it, else an equivalent code, preferably in the script of
        the tag or else in the usual script of the language, and then the shortest; `None` if the model does not
        support the language.
    """
    codes = {code: found for code in known if (found := _CODE.fullmatch(code.lower()))}
    if tag in codes:
        return tag
    language, script = canonical(tag), script_of_language(tag)
    same = [code for code, found in codes.items() if canonical(found[1]) == language]
    written = {script.lower(), f"script_{_script_name(script)}"}

    def preference(code: str) -> tuple[bool, bool, int, str]:
        parts = (codes[code][2] or "").replace("script_", "script ").replace("-", " ").replace("_", " ")
        own = bool(written & {codes[code][2], *parts.split()})
        # A code without a script is that of the usual script, so it is second if the tag names another one.
        return not own and names_script(tag), not own and bool(parts), len(code), code

    return min(same, key=preference, default=None)


# The distance in CLDR of languages that share only their script; see `langcodes.tag_distance`.
_UNRELATED = 84


def closest(tag: str, known: Iterable[str]) -> list[str]:
    """
    Return the codes of the three closest languages by the distances of CLDR, the closest first.

    CLDR measures whether the readers of a language also read another one, and whether both are used in one place.

    Args:
        tag (`str`): The tag of the language.
        known (`Iterable[str]`): The codes of the model.
    """
    import langcodes

    distances = sorted((langcodes.tag_distance(tag, code), code) for code in known if _CODE.fullmatch(code))
    return [code for distance, code in distances[:3] if distance < _UNRELATED]


def whisper_code(tag: str) -> str | None:
    """Return the code of the language in Whisper's multilingual models; `None` if they do not have the language."""
    return matching(tag, WHISPER)


def fleurs_configuration(tag: str) -> str | None:
    """Return the configuration of FLEURS with the language of a tag, such as `gl_es`; `None` if there is none."""
    return matching(tag, FLEURS)


def mms_code(tag: str) -> str:
    """Return the code under which MMS would have a language: that of ISO 639-3, with a script if it has several."""
    import langcodes

    if several := _MMS.get(canonical(tag)):
        return matching(tag, several) or several[0]
    try:
        return str(langcodes.Language.get(tag).to_alpha3())
    except (LookupError, ValueError):
        return tag


@cache
def language_name(tag: str, language: str = "en") -> str:
    """
    Return the name of a language: `Uzbek` for `uz`, `Serbian (Cyrillic)` for `sr-Cyrl`.

    Args:
        tag (`str`): The tag of the language.
        language (`str`, *optional*, defaults to `"en"`): The language of the name, a code that Babel knows; English
            if the name is not known in it.

    Returns:
        `str`: The name; the tag itself if the language is not known.
    """
    import langcodes
    from babel import Locale

    try:
        found = langcodes.Language.get(tag)
        name = Locale.parse(language).languages.get(found.language or "") if found.to_tag() == found.language else None
        name = name or found.display_name("en")
    except (LookupError, ValueError):
        return tag
    # CLDR writes the Uzbek letters oʻ and gʻ with a quotation mark.
    return tag if name.startswith("Unknown language") else name.replace("\u2018", "\u02bb")


def name_and_tag(tags: str) -> str:
    """Return the names of languages with their tags, for messages: `Galician (gl)`, or `Galician (gl), Uzbek (uz)`."""
    found = [(tag, language_name(tag)) for tag in tags.split(", ") if tag]
    return ", ".join(tag if name == tag else f"{name} ({tag})" for tag, name in found)


def direction(tag: str | None) -> str:
    """Return the direction of the script of a language, `ltr` or `rtl`; `auto` if the language is not known."""
    script = script_of_language(tag or "")
    return "rtl" if script in RIGHT_TO_LEFT else "ltr" if script else "auto"


def text_direction(tag: str | None) -> str:
    """
    Return the attribute `dir` of a text: `rtl` if its language is written from right to left, else `auto`.

    With `auto` the first letter of the text decides, for texts in another script than that of their language.
    """
    return "rtl" if direction(tag) == "rtl" else "auto"


def is_right_to_left(text: str) -> bool:
    """Return whether the first letter of a text with a direction has that from right to left (Unicode, rule P2)."""
    strong = (kind for kind in map(bidirectional, text) if kind in ("L", "R", "AL"))
    return next(strong, "L") != "L"


def without_spaces(tags: str) -> bool:
    """
    Return whether a language is written without spaces between words, as Thai, Khmer, Chinese and Japanese are.

    The script decides, so that Cantonese and Wu (`yue`, `wuu`) count too, and `zh-Latn` does not.

    Args:
        tags (`str`): The tag of the language; of several, separated by commas, any counts.
    """
    return any(script_of_language(tag.strip()) in _WITHOUT_SPACES for tag in tags.split(","))


def join_texts(texts: Iterable[str], language: str) -> str:
    """
    Join the texts of consecutive stretches of a recording; empty ones are left out.

    Args:
        texts (`Iterable[str]`): The texts, without spaces at the edges.
        language (`str`): The tag of the language; empty if it is not known.

    Returns:
        `str`: The text, with spaces between the stretches. If the language has no spaces between words, there is one
        only between two words in Latin letters or digits.
    """
    spaced, joined = not without_spaces(language), ""
    for text in filter(None, texts):
        separated = spaced or (joined[-1:].isascii() and text[0].isascii())
        joined += f" {text}" if joined and separated else text
    return joined


@dataclass(frozen=True)
class LanguageCodes:
    """
    Hold the codes of one language.

    Args:
        tag (`str`): The BCP 47 tag.
        name (`str`): The English name.
        script (`str`): The script (ISO 15924), that of the tag or the usual one.
        iso639 (`str`): The code of ISO 639-1, or of ISO 639-3 if there is none.
        whisper (`str`, *optional*): The code of Whisper.
        fleurs (`str`, *optional*): The configuration of FLEURS.
        mms (`str`): The code of MMS.
    """

    tag: str
    name: str
    script: str
    iso639: str
    whisper: str | None
    fleurs: str | None
    mms: str


def language_codes(tag: str) -> LanguageCodes:
    """Return all codes of a language; raise a `LanguageError` if the tag is not known."""
    tag = language_tag(tag)
    return LanguageCodes(
        tag=tag,
        name=language_name(tag),
        script=script_of_language(tag),
        iso639=iso639(tag),
        whisper=whisper_code(tag),
        fleurs=fleurs_configuration(tag),
        mms=mms_code(tag),
    )
