"""Test the prompt of Qwen3-ASR."""

from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.models import family_of
from escoita.records.training import Prompt
from tests.models import bases


def test_qwen3_asr_is_told_a_language(tmp_path: Path) -> None:
    bases.write_qwen3_asr(tmp_path)
    family = family_of(str(tmp_path))
    processor = family.load_processor(str(tmp_path))
    with pytest.raises(EscoitaError, match=r"^prompt\.user: 'Escoita\.' is nothing that Qwen3-ASR knows; write 'lang"):
        family.render(processor, Prompt(user="Escoita."))
