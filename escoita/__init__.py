"""Turn recordings with transcripts into a published speech adapter whose model card can be recomputed."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from escoita.hub.endpoint import remove_endpoint_login


if TYPE_CHECKING:
    from escoita.audio.loading import read_audio
    from escoita.evaluation.evaluate import evaluate_manifests, evaluate_run
    from escoita.inference.serving import Engine
    from escoita.inference.transcriber import Transcriber
    from escoita.metrics.normalizers import normalizer
    from escoita.metrics.wer import character_edits, word_edits
    from escoita.recipe.schema import Recipe, load_recipe
    from escoita.records.transcript import Transcript
    from escoita.training.sft import train


__version__ = "0.2.0"

# The threads of NumPy's BLAS, which the features of every clip start, spin and take the cores of torch's threads: with
# one thread, two cores transcribe 1.6 times as fast. NumPy reads the variable when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Batches have many sizes, and memory that torch keeps in blocks of fixed sizes for reuse does not fit the next batch.
# Torch reads the variables when it first uses a GPU; the second is the newer name.
if sys.platform == "linux" and not {"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"} & os.environ.keys():
    os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"

# Before any module reads the address of the Hub.
remove_endpoint_login()

# The public interface, imported on first use: importing torch and transformers takes seconds.
_MODULES = {
    "Engine": "escoita.inference.serving",
    "Recipe": "escoita.recipe.schema",
    "Transcriber": "escoita.inference.transcriber",
    "Transcript": "escoita.records.transcript",
    "character_edits": "escoita.metrics.wer",
    "evaluate_manifests": "escoita.evaluation.evaluate",
    "evaluate_run": "escoita.evaluation.evaluate",
    "load_recipe": "escoita.recipe.schema",
    "normalizer": "escoita.metrics.normalizers",
    "read_audio": "escoita.audio.loading",
    "train": "escoita.training.sft",
    "word_edits": "escoita.metrics.wer",
}
__all__ = [
    "Engine",
    "Recipe",
    "Transcriber",
    "Transcript",
    "character_edits",
    "evaluate_manifests",
    "evaluate_run",
    "load_recipe",
    "normalizer",
    "read_audio",
    "train",
    "word_edits",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
