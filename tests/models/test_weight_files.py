"""Test the checks of safetensors headers."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from escoita.errors import EscoitaError
from escoita.models.weight_files import MOST_HEADER_BYTES, opened_weights
from escoita.utils.limits import FileSizeError, LfsPointerError


def with_header(tensors: dict[str, object], data: bytes = b"", length: int | None = None) -> bytes:
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensor(shape: list[int], end: int, begin: int = 0, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content, error_class",
    [
        (b"", EscoitaError),
        (b"\0\0\0", EscoitaError),
        (with_header({}, length=2**62), EscoitaError),
        (with_header({"a": tensor([2**40, 2**40], 4)}, bytes(4)), EscoitaError),
        (with_header({"a": tensor([1], 2**63)}, bytes(4)), EscoitaError),
        (with_header({"a": tensor([1], 4, begin=8)}, bytes(4)), EscoitaError),
        (with_header({"a": tensor([1], 4, dtype="PICKLE")}, bytes(4)), EscoitaError),
        (with_header({"a": tensor([4], 16)}, bytes(4)), EscoitaError),
        (with_header({"a": tensor([1], 4)}, bytes(400)), EscoitaError),
        (struct.pack("<Q", 90_000_000) + bytes(90_000_000), FileSizeError),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", LfsPointerError),
    ],
)
def test_invalid_file_is_refused_in_one_line(tmp_path: Path, content: bytes, error_class: type[EscoitaError]) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(EscoitaError) as error, opened_weights(path, "user/name"):
        pass
    assert type(error.value) is error_class and error.value.path == "user/name/weights.safetensors"
    assert "\n" not in str(error.value)


def test_valid_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(2)}, path)
    with opened_weights(path, "user/name") as weights:
        assert torch.equal(weights.get_tensor("a"), torch.ones(2))


def test_file_with_thousands_of_tensors_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(
        {f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_A.weight": torch.ones(1) for n in range(9_999)},
        path,
    )
    assert path.stat().st_size < MOST_HEADER_BYTES
    with opened_weights(path, "user/name") as weights:
        assert len(weights.keys()) == 9_999
