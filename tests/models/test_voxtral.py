"""Test the prompt and the tokenizer of Voxtral."""

from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch
from huggingface_hub.errors import RemoteEntryNotFoundError
from transformers import WhisperFeatureExtractor

from escoita.records.training import Prompt
from tests.models import bases
from tests.models.bases import chat_family_of
from tests.samples import tone


SHORT = tone(seconds=0.7)


@pytest.mark.parametrize(
    "user, expected",
    [
        ("", "<s>[INST][BEGIN_AUDIO][AUDIO][/INST][TRANSCRIBE]"),
        ("lang:es", "<s>[INST][BEGIN_AUDIO][AUDIO][/INST]lang:es[TRANSCRIBE]"),
    ],
)
def test_transcription_request(tmp_path: Path, user: str, expected: str) -> None:
    bases.write_voxtral(tmp_path)
    family = chat_family_of(str(tmp_path))
    assert family.render(family.load_processor(str(tmp_path)), Prompt(user=user)) == expected


def test_special_tokens(tmp_path: Path) -> None:
    bases.write_voxtral(tmp_path)
    tokenizer = chat_family_of(str(tmp_path)).load_processor(str(tmp_path)).tokenizer
    assert {"<s>", "</s>", "[INST]", "[TRANSCRIBE]"} <= set(tokenizer.all_special_tokens)
    ids = tokenizer("ola[TRANSCRIBE]</s><pad>", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ola"


def test_saved_processor_is_read_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A saved processor has no `tekken.json`."""
    bases.write_voxtral(tmp_path / "base")
    family = chat_family_of(str(tmp_path / "base"))
    before = family.load_processor(str(tmp_path / "base"))
    family.save_processor(before, tmp_path / "saved")

    def download(repo: str, name: str, **options: object) -> str:
        if not (tmp_path / "saved" / name).is_file():
            raise RemoteEntryNotFoundError("404: not there", response=MagicMock())
        return str(tmp_path / "saved" / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr(WhisperFeatureExtractor, "from_pretrained", lambda *_, **__: before.feature_extractor)
    again = family.load_processor("user/saved")
    batches = [family.encode(processor, [SHORT], Prompt(user="Escoita.")) for processor in (before, again)]
    assert all(torch.equal(batches[0][key], batches[1][key]) for key in batches[0])
