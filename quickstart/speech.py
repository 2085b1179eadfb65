"""Synthesize speech with libespeak-ng in this process (Debian: `libespeak-ng1`), in milliseconds per utterance."""

import ctypes
import functools
from pathlib import Path

import numpy as np
import soxr


SAMPLING_RATE = 16_000
_SYNCHRONOUS, _UTF8 = 2, 1
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

_chunks: list[np.ndarray] = []


@_CALLBACK
def _collect(samples, count, _events):  # called by the library with 16-bit samples, and with a null pointer at the end
    if samples and count > 0:
        _chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
    return 0


@functools.cache
def _library() -> tuple[ctypes.CDLL, int, Path]:
    library = ctypes.CDLL("libespeak-ng.so.1")
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0)
    library.espeak_SetSynthCallback(_collect)
    library.espeak_Info.restype = ctypes.c_char_p
    data = ctypes.c_char_p()
    library.espeak_Info(ctypes.byref(data))
    return library, rate, Path((data.value or b"").decode())


def synthesize(text: str, voice: str, rate: int = 160, pitch: int = 50, pitch_range: int = 50) -> np.ndarray:
    """
    Synthesize a text.

    Args:
        text (`str`): Text to synthesize.
        voice (`str`): Language and variant in the form of espeak-ng, such as `uz+f3`.
        rate (`int`, *optional*, defaults to 160): Rate in words per minute.
        pitch (`int`, *optional*, defaults to 50): Pitch from 0 to 99.
        pitch_range (`int`, *optional*, defaults to 50): Pitch range from 0 to 99.

    Returns:
        `np.ndarray`: Mono samples, float32 at 16 kHz, with at most 0.1 s of silence at both ends.

    Raises:
        ValueError: The voice or its variant does not exist (espeak-ng itself silently uses another one).
    """
    library, library_rate, data = _library()
    variant = voice.partition("+")[2]
    if library.espeak_SetVoiceByName(voice.encode()) or (variant and not (data / "voices/!v" / variant).exists()):
        raise ValueError(f"espeak-ng has no voice {voice!r}")
    for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_PITCH_RANGE, pitch_range)):
        library.espeak_SetParameter(parameter, value, 0)
    _chunks.clear()
    content = text.encode() + b"\0"
    library.espeak_Synth(content, len(content), 0, 1, 0, _UTF8, None, None)
    audio = np.concatenate([np.zeros(0, np.int16), *_chunks]).astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(audio) > 1e-3)
    if len(loud):
        audio = audio[max(0, loud[0] - library_rate // 28) : loud[-1] + library_rate // 14]
    return soxr.resample(audio, library_rate, SAMPLING_RATE).astype(np.float32)
