"""Test the prompt of Qwen3-ASR."""

from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.records.training import Prompt
from tests.models import bases
from tests.models.bases import chat_family_of


@pytest.mark.parametrize("language, name", [("es", "Spanish"), ("spa", "Spanish"), ("gl", "None")])
def test_as_a_baseline_it_gets_the_language_or_detects_it(tmp_path: Path, language: str, name: str) -> None:
    bases.write_qwen3_asr(tmp_path)
    family = chat_family_of(str(tmp_path))
    prompt = family.baseline_prompt(language)
    assert prompt == Prompt(user=f"language {name}<asr_text>")
    assert family.render(family.load_processor(str(tmp_path)), prompt).endswith(prompt.user)


def test_prompt_without_a_language_is_refused(tmp_path: Path) -> None:
    bases.write_qwen3_asr(tmp_path)
    family = chat_family_of(str(tmp_path))
    processor = family.load_processor(str(tmp_path))
    with pytest.raises(EscoitaError) as error:
        family.render(processor, Prompt(user="Escoita."))
    assert (error.value.key, error.value.value) == ("prompt.user", "Escoita.")
