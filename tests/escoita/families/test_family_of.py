import json
from pathlib import Path

import pytest

from escoita.errors import EscoitaError
from escoita.families import family_of


def test_the_family_is_found_by_the_model_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma4"}), "utf-8")
    assert family_of(str(tmp_path)).model_type == "gemma4"


@pytest.mark.parametrize(
    "config, said",
    [
        (None, "the folder holds no model configuration"),
        ('{"model_type": "bert"}', "its type 'bert' is not one of gemma4"),
        ('{"model_type": "no-such-model"}', "the folder holds no model configuration"),
        ("{", "the folder holds no model configuration"),
    ],
)
def test_a_folder_that_is_no_base(tmp_path: Path, config: str | None, said: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config, "utf-8")
    with pytest.raises(EscoitaError) as refusal:
        family_of(str(tmp_path))
    assert str(refusal.value) == f"model {tmp_path}: {said}"
