"""Estimate with Silero VAD, if it is installed, where a recording contains speech."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


# Samples of a frame, and those before it that the model also gets; the model was trained on these.
FRAME, _CONTEXT = 512, 64
# Probabilities at which speech begins and ends; the defaults of Silero VAD.
_BEGINS, _ENDS = 0.5, 0.35
# Frames of a call of the model: 16 s.
_FRAMES_AT_ONCE = 512
_STATE = (1, 1, 128)


def is_installed() -> bool:
    """Return whether the packages of `escoita[vad]` are installed, and contain the model."""
    return _model_path() is not None and find_spec("onnxruntime") is not None


def speech_frames(samples: np.ndarray) -> np.ndarray:
    """
    Return which frames contain speech, according to Silero VAD (Silero Team 2021, github.com/snakers4/silero-vad).

    Args:
        samples (`np.ndarray`): The samples, of shape `(samples,)`, float32, 16 kHz.

    Returns:
        `np.ndarray`: Flags, of shape `(frames,)`; a frame has [`FRAME`] samples.
    """
    flags: list[bool] = []
    for probability in _probabilities(samples):
        flags.append(bool(probability >= (_ENDS if flags and flags[-1] else _BEGINS)))
    return np.array(flags, bool)


def _probabilities(samples: np.ndarray) -> np.ndarray:
    hidden, cell = np.zeros(_STATE, np.float32), np.zeros(_STATE, np.float32)
    found = [np.zeros(0, np.float32)]
    size = FRAME * _FRAMES_AT_ONCE
    for start in range(0, len(samples), size):
        before = samples[max(0, start - _CONTEXT) : start]
        block = np.concatenate([np.zeros(_CONTEXT - len(before), np.float32), before, samples[start : start + size]])
        frames = -(-(len(block) - _CONTEXT) // FRAME)
        block = np.pad(block, (0, frames * FRAME + _CONTEXT - len(block))).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(block, FRAME + _CONTEXT)[::FRAME]
        inputs = {"input": np.ascontiguousarray(windows), "h": hidden, "c": cell}
        probabilities, hidden, cell = _session().run(["speech_probs", "hn", "cn"], inputs)
        found.append(np.asarray(probabilities).reshape(-1))
    return np.concatenate(found)


@cache
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(_model_path()), options, providers=["CPUExecutionProvider"])


@cache
def _model_path() -> Path | None:
    # The package is not imported: its import sets the number of threads of torch to 1 for the whole process.
    package = find_spec("silero_vad")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0], "data", "silero_vad_16k_sequence.onnx")
    return path if path.is_file() else None
