"""Check the choice of the base by the memory of a GPU."""

import pytest

from escoita.errors import EscoitaError
from escoita.training.starting_bases import BASES, DEFAULT, base_named, choose_base, gpu_gigabytes
from tests.conftest import ROOT


@pytest.mark.parametrize("gigabytes, index", [(139.0, 0), (40.0, 0), (24.0, 1), (16.0, 1), (12.0, 2), (4.0, 2)])
def test_the_largest_base_that_fits_is_chosen(gigabytes: float, index: int) -> None:
    choice = choose_base(gigabytes)
    assert choice == BASES[index]
    assert 1 <= choice.batch(gigabytes, 30.0) <= choice.batch(gigabytes, 5.0) <= 16


def test_without_a_gpu_a_real_base_is_chosen() -> None:
    assert choose_base(None) == DEFAULT and DEFAULT.gigabytes > 0 and DEFAULT.batch(None, 10.0) >= 1


def test_bases_can_be_named() -> None:
    tiny = base_named(str(ROOT / "quickstart/gemma4"), None)
    assert tiny.tiny and tiny.family.name == "gemma4" and tiny.gigabytes == 0
    assert base_named("unsloth/gemma-4-E4B-it", 80.0) == BASES[0]
    assert base_named("unsloth/gemma-4-E4B-it", 24.0) == base_named("unsloth/gemma-4-E4B-it", None) == BASES[1]
    other = base_named("Qwen/Qwen2-Audio-7B-Instruct", 24.0)
    assert other.family.name == "qwen2_audio" and other.gigabytes > 16
    with pytest.raises(EscoitaError):
        base_named(str(ROOT / "quickstart/corpus"), None)


def test_whisper_and_ctc_models_are_trained_on_a_cpu_if_there_is_no_gpu() -> None:
    for name in ("openai/whisper-small", "facebook/w2v-bert-2.0", "facebook/mms-1b-all"):
        assert base_named(name, None).on_cpu and not base_named(name, 24.0).on_cpu
        assert base_named(name, None).batch(None, 30.0) <= 4
    assert not base_named("unsloth/gemma-4-E4B-it", None).on_cpu
    assert not base_named(str(ROOT / "quickstart/whisper"), None).on_cpu  # tiny: with the settings of the quick start


@pytest.mark.parametrize("text, size", [("24GB", 24), ("24", 24), ("80 gib", 80), ("none", None), ("cpu", None)])
def test_the_memory_is_read(text: str, size: float | None) -> None:
    assert gpu_gigabytes(text) == size


@pytest.mark.parametrize("text", ["", "big", "-1", "24TB", "1e3"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(EscoitaError) as caught:
        gpu_gigabytes(text)
    assert caught.value.key == "--gpu"
