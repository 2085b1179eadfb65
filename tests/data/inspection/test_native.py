"""Check datasets of the Hub, over HTTP with the Hub double, and corpora with several languages."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from escoita.data.inspection import inspect, native
from escoita.data.readers.base import SelectionError
from tests.data.inspection.layouts import CLIPS, write_layout
from tests.hub_double import serve


INSPECT = """
import json, os, sys
from pathlib import Path
from huggingface_hub import HfApi
from escoita.data.inspection import inspect, native
from escoita.errors import EscoitaError

api = HfApi(token="hf_ana")
for name in ("splits", "single"):
    api.create_repo(f"ana/{name}", repo_type="dataset")
    api.upload_folder(repo_id=f"ana/{name}", repo_type="dataset", folder_path=name)
for name in ("splits", "single", "none"):
    try:
        found = inspect(f"ana/{name}", "uz", Path("extracted"))
        print(json.dumps([found.native, [[row.text, row.speaker, row.audio] for row in found.rows]]))
    except EscoitaError as error:
        print(json.dumps(error.path))
"""


def test_datasets_of_the_hub(tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    write_layout("parquet with splits", tmp_path / "splits")
    single = write_layout("parquet", tmp_path / "single")
    (single / "data").mkdir()
    shutil.move(single / "data-00000-of-00001.parquet", single / "data/train-00000-of-00001.parquet")
    with serve(tmp_path / "hub") as hub:
        script = f"import os\nos.chdir({str(tmp_path)!r})\n{INSPECT}"
        environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_ana", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
        run = command("-c", script, **environment, HF_HUB_DISABLE_XET="1")
    assert run.returncode == 0, run.stderr
    (native, none), (empty, rows), missing = map(json.loads, run.stdout.splitlines())
    assert not none and not empty and missing == "ana/none"
    assert {split: (keys["reader"], keys["path"], keys["split"]) for split, keys in native.items()} == {
        split: ("hub", "ana/splits", split) for split in ("train", "test")
    }
    assert all(len(keys["revision"]) == 40 for keys in native.values())
    assert [row[:2] for row in rows] == [[clip.text, clip.speaker] for clip in CLIPS]
    assert (tmp_path / rows[0][2]).read_bytes() == CLIPS[0].path.read_bytes()


@pytest.mark.parametrize("layout", ["Common Voice", "FLEURS"])
def test_the_language_selects_one_of_several_folders(layout: str, tmp_path: Path) -> None:
    folder = write_layout(layout, tmp_path / "recordings")
    own = next(path for path in folder.rglob("*") if path.is_dir() and path.name in ("uz", "uz_uz"))
    shutil.copytree(own, own.with_name(own.name.replace("uz", "kk")))
    found = inspect(str(folder), "kk", tmp_path / "extracted")
    assert Path(found.native["test"]["path"]).name.startswith("kk")
    with pytest.raises(SelectionError) as caught:
        inspect(str(folder), "gl", tmp_path / "extracted")
    assert len(caught.value.available) == 2


@pytest.mark.parametrize("layout", ["Common Voice", "FLEURS"])
def test_equivalent_tags_select_a_folder(layout: str, tmp_path: Path) -> None:
    folder = write_layout(layout, tmp_path / "recordings")
    own = next(path for path in folder.rglob("*") if path.is_dir() and path.name in ("uz", "uz_uz"))
    shutil.copytree(own, own.with_name(own.name.replace("uz", "kk")))
    for tag in ("uz-Latn", "uzb", "uz-Cyrl-UZ"):
        found = inspect(str(folder), tag, tmp_path / "extracted")
        assert Path(found.native["test"]["path"]).name == own.name


def test_validated_clips_without_splits_are_rows(tmp_path: Path) -> None:
    folder = write_layout("Common Voice", tmp_path / "recordings")
    for name in ("train", "dev", "test"):
        next(folder.rglob(f"{name}.tsv")).unlink()
    found = inspect(str(folder), "uz", tmp_path / "extracted")
    assert len(found.rows) == len(CLIPS) and not found.native and not (tmp_path / "extracted").exists()


@pytest.mark.parametrize(
    "language, names, found",
    [
        ("uz-Latn", ["uz", "gl"], ["uz"]),
        ("uz", ["uzb_Latn", "uzb_Cyrl"], ["uzb_Latn"]),
        ("uz-Cyrl", ["uzb_Latn", "uzb_Cyrl"], ["uzb_Cyrl"]),
        ("zh-Hans", ["cmn_hans_cn", "gl_es"], ["cmn_hans_cn"]),
        ("en", ["en-GB", "en-US"], ["en-GB", "en-US"]),
        ("en-US", ["en-GB", "en-US"], ["en-US"]),
        ("gl", ["default"], ["default"]),
    ],
)
def test_codes_of_other_standards_name_a_language(language: str, names: list[str], found: list[str]) -> None:
    assert native._of_language(language, names) == found
