"""Test the heading and the introduction of the page."""

import html

from escoita.space.texts import translate
from escoita.space.theme import heading, lead, short_name


def test_names_are_escaped_and_short() -> None:
    assert heading("<i>Uzbek</i>") == "<h1>&lt;i&gt;Uzbek&lt;/i&gt;</h1>"
    text = lead("30 seconds", "20 minutes", "/srv/models/gemma <4>", ["runs/demo/adapter"])
    base, adapter = translate("page.base", base="models/gemma <4>"), translate("page.adapter", adapter="demo/adapter")
    assert html.escape(f"{base}. {adapter}") in text
    assert short_name("acme/base") == "acme/base"
    assert short_name("acme/base@refs/pr/1") == "acme/base@refs/pr/1"
    assert short_name(f"acme/base@{'0a' * 20}") == "acme/base"


def test_another_base_is_reported_on_the_page() -> None:
    arguments = ("30 seconds", "20 minutes", "acme/base", ["runs/demo/adapter"])
    assert html.escape(translate("page.other_base", "gl")) in lead(*arguments, "gl", other_base=True)
    assert html.escape(translate("page.other_base")) not in lead(*arguments)
