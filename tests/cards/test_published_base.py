from pathlib import Path

import pytest

from escoita.cards.published_base import base_files
from escoita.errors import PublishError


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, "utf-8")


def test_a_base_is_published_with_its_adapters(tmp_path: Path) -> None:
    published = ["config.json", "model.safetensors", "tokenizer.json"]
    speech = ["speech-lora/adapter_config.json", "speech-lora/adapter_model.safetensors"]
    others = ["training_args.bin", "checkpoint-2/model.safetensors", "checkpoint-2/optimizer.pt", "speech-lora/a.pt"]
    write(tmp_path, *published, *speech, *others)
    files = base_files(tmp_path)
    assert sorted(files) == sorted(published + speech)
    assert all(path.read_text("utf-8") == name for name, path in files.items())


def test_a_base_without_safetensors_is_not_published(tmp_path: Path) -> None:
    write(tmp_path, "config.json", "pytorch_model.bin")
    with pytest.raises(PublishError) as error:
        base_files(tmp_path)
    assert error.value.path == tmp_path
