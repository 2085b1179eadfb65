"""Test the rendering of chat templates, compared with Transformers, and its limits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trl

from escoita.errors import EscoitaError
from escoita.models import chat_templates as templates
from escoita.models.chat_templates import KNOWN_TEMPLATES, LONGEST_TEMPLATE, digest, rendered
from escoita.models.errors import ChatTemplateError
from escoita.models.template_process import render
from escoita.records.training import Prompt
from tests.conftest import ROOT
from tests.models import bases
from tests.models.bases import chat_family_of
from tests.models.write_known_templates import known_templates


MESSAGES = [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "Escoita."}]}]


def processor(template: Any, **tokens: str) -> Any:
    return SimpleNamespace(chat_template=template, tokenizer=SimpleNamespace(special_tokens_map=tokens))


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear the cache of other tests, and lower the time limit."""
    templates._outcome.cache_clear()
    monkeypatch.setattr(templates, "MOST_SECONDS", 3)


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{{ messages[0].role * 10**9 * 10 }}",
        "{{ 10**(10**10) }}",
        "{{ 'x' * 900_000 }}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{{ " + 20_000 * "(" + "1" + 20_000 * ")" + " }}",
        9_000 * "{% if 1 %}" + 9_000 * "{% endif %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ range(10**9) | list }}",
        "{% include '/etc/passwd' %}",
        "{{ raise_exception('no system turn\x1b[2J') }}",
        "{% for x in %}",
        "{{ [1, 2, 3, 4, 5, 6, 7, 8, 9] | random }}{{ range(9999) | random }}",
        "x" * (LONGEST_TEMPLATE + 1),
        "",
        None,
        {"tools": "x"},
    ],
)
def test_failing_template_is_refused_in_one_line(template: Any, empty_cache: None) -> None:
    with pytest.raises(ChatTemplateError) as error:
        rendered(processor(template), MESSAGES)
    assert error.value.key == "chat template of the base"
    assert "\x1b" not in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400


def test_results_and_errors_are_cached(empty_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    limited = templates.limited

    def recorded(*values: Any) -> Any:
        calls.append(values)
        return limited(*values)

    monkeypatch.setattr(templates, "limited", recorded)
    template = "{{ bos_token }}{{ messages[0].role }}"
    for _ in range(3):
        assert rendered(processor(template, bos_token="<s>"), MESSAGES) == "<s>user"
    assert rendered(processor(template, bos_token="<t>"), MESSAGES) == "<t>user"
    assert rendered(processor({"default": template}, bos_token="<t>"), MESSAGES) == "<t>user"
    assert len(calls) == 2
    with pytest.raises(EscoitaError):
        rendered(processor("{{ raise_exception('no') }}"), MESSAGES)
    with pytest.raises(EscoitaError):
        rendered(processor("{{ raise_exception('no') }}"), MESSAGES)
    assert len(calls) == 3


@pytest.mark.parametrize("base", ["gemma4", "gemma3n", "qwen2_audio", "qwen3_asr", "granite_speech"])
def test_text_equals_that_of_transformers(base: str, tmp_path: Path) -> None:
    folder = ROOT / "quickstart" / base if base == "gemma4" else tmp_path
    if base != "gemma4":
        getattr(bases, f"write_{base}")(tmp_path)
    family = chat_family_of(str(folder))
    theirs = family.load_processor(str(folder))
    plain = [{"role": "user", "content": "Escoita."}] if base == "granite_speech" else MESSAGES
    system = [{"role": "system", "content": plain[0]["content"] if base == "granite_speech" else
               [{"type": "text", "text": "Ti escoitas."}]}]  # fmt: skip
    for messages in (plain, system + plain):
        expected = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert rendered(theirs, messages) == expected
        assert render(theirs.chat_template, messages, theirs.tokenizer.special_tokens_map) == expected


@pytest.mark.parametrize("path", sorted((Path(trl.__file__).parent / "chat_templates").glob("gemma4*.jinja")), ids=str)
def test_known_templates_need_no_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "limited", lambda *_: pytest.fail("a process was started"))
    family = chat_family_of("quickstart/gemma4")
    theirs = family.load_processor("quickstart/gemma4")
    theirs.chat_template = path.read_text("utf-8")
    assert "Escoita." in family.render(theirs, Prompt(user="Escoita."))


def test_known_templates_are_current() -> None:
    """`python -m tests.models.write_known_templates` updates the list after an update of TRL."""
    assert known_templates().keys() <= KNOWN_TEMPLATES.keys()
    assert digest((ROOT / "quickstart/gemma4/chat_template.jinja").read_text("utf-8")) in KNOWN_TEMPLATES
    assert digest("{{ messages }}") not in KNOWN_TEMPLATES


def test_prompt_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    family = chat_family_of("quickstart/gemma4")
    theirs = family.load_processor("quickstart/gemma4")
    theirs.chat_template += "{# of somebody #}"
    family.render(theirs, Prompt(user="Escoita."))
    monkeypatch.setattr(templates, "limited", lambda *_: pytest.fail("a second process was started"))
    for _ in range(100):
        family.render(theirs, Prompt(user="Escoita."))


GEMMA4 = sorted((Path(trl.__file__).parent / "chat_templates").glob("gemma4*.jinja"))
SYSTEM, USER = "You are an assistant that transcribes speech accurately.", "Please transcribe this audio."


@pytest.mark.parametrize("path", GEMMA4, ids=[path.stem for path in GEMMA4])
@pytest.mark.parametrize("system", [SYSTEM, "Write {'type': 'text'} and [1] as it is said.\nNothing else.", ""])
def test_turns_of_gemma_4_contain_exactly_the_prompt(path: Path, system: str) -> None:
    """Two of the five templates that TRL ships write a list of parts in the system turn as a Python literal."""
    family = chat_family_of("quickstart/gemma4")
    theirs = family.load_processor("quickstart/gemma4")
    theirs.chat_template = path.read_text("utf-8")
    turn = f"<|turn>system\n{system}<turn|>\n" if system else ""
    expected = f"<bos>{turn}<|turn>user\n<|audio|>{USER}<turn|>\n<|turn>model\n"
    assert family.render(theirs, Prompt(system=system, user=USER)) == expected


def test_all_templates_of_gemma_4_are_tested() -> None:
    assert len(GEMMA4) >= 5


@pytest.mark.parametrize("written", ["{{ turn.content }}", "{{ turn.content | tojson }}"])
def test_literal_in_the_user_turn_is_refused(written: str) -> None:
    family = chat_family_of("quickstart/gemma4")
    theirs = family.load_processor("quickstart/gemma4")
    theirs.chat_template = "{% for turn in messages %}" + written + "{% endfor %}<|audio|>"
    with pytest.raises(EscoitaError) as error:
        family.render(theirs, Prompt(system=SYSTEM, user=USER))
    assert str(error.value.key).startswith("prompt")


def test_template_that_needs_parts_gets_parts() -> None:
    family = chat_family_of("quickstart/gemma4")
    theirs = family.load_processor("quickstart/gemma4")
    theirs.chat_template = bases.CHATML
    turns = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nAUDIO{USER}<|im_end|>\n"
    assert family.render(theirs, Prompt(system=SYSTEM, user=USER)) == f"{turns}<|im_start|>assistant\n"
