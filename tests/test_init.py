import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "script", ["escoita.training.sft", "escoita.evaluation.evaluate", "escoita.space.app", "bench.run"]
)
def test_the_threads_of_numpy_are_set_before_it_is_loaded(script: str) -> None:
    script = (
        f"import sys, {script}, numpy; names = list(sys.modules); print(names.index('escoita') < names.index('numpy'))"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "True"


def test_a_given_number_of_threads_is_kept() -> None:
    script = "import os, escoita; print(os.environ['OPENBLAS_NUM_THREADS'])"
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "3"}
    assert subprocess.check_output([sys.executable, "-c", script], env=environment, text=True).strip() == "3"


@pytest.mark.skipif(sys.platform != "linux", reason="torch supports expandable segments on Linux only")
@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, ("expandable_segments:True", None)),
        ({"PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync"}, ("backend:cudaMallocAsync", None)),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}, (None, "max_split_size_mb:64")),
    ],
)
def test_the_allocator_of_a_gpu_is_set_unless_the_user_sets_it(
    given: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    names = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
    script = f"import os, escoita; print(tuple(map(os.environ.get, {names})))"
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    assert subprocess.check_output([sys.executable, "-c", script], env=environment, text=True).strip() == str(expected)


def test_the_public_interface_is_imported_when_it_is_used() -> None:
    code = "import sys, escoita; assert not {'torch', 'transformers', 'gradio', 'numpy'} & set(sys.modules)"
    subprocess.run(
        [sys.executable, "-c", f"{code}; print([getattr(escoita, name) for name in escoita.__all__])"], check=True
    )


def test_the_import_of_published_cards_works() -> None:
    import escoita
    from escoita.transcribe import Transcriber

    assert Transcriber is escoita.Transcriber


def test_an_unknown_name_is_an_error() -> None:
    import escoita

    with pytest.raises(AttributeError, match="transcriber"):
        _ = escoita.transcriber
