import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "script", ["escoita.training.sft", "escoita.evaluation.evaluate", "escoita.space.app", "bench.run"]
)
def test_the_threads_of_numpy_are_set_before_it_is_loaded(script: str) -> None:
    told = (
        f"import sys, {script}, numpy; names = list(sys.modules); print(names.index('escoita') < names.index('numpy'))"
    )
    assert subprocess.check_output([sys.executable, "-c", told], text=True).strip() == "True"


def test_a_given_number_of_threads_is_kept() -> None:
    told = "import os, escoita; print(os.environ['OPENBLAS_NUM_THREADS'])"
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "3"}
    assert subprocess.check_output([sys.executable, "-c", told], env=environment, text=True).strip() == "3"


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
