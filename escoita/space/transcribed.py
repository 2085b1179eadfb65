"""What a session has transcribed: it is drawn once, and may be corrected once."""

from dataclasses import dataclass

from escoita.errors import EscoitaError
from escoita.records.transcript import Transcript
from escoita.space.texts import say


@dataclass
class Transcribed:
    """
    A recording that was transcribed in this session.

    Args:
        recording (`str`): The file.
        transcript ([`~escoita.records.transcript.Transcript`]): The result.
        drawn (`bool`, *optional*, defaults to `False`): Whether its waveform was drawn.
        corrected (`bool`, *optional*, defaults to `False`): Whether a correction of it was taken.
    """

    recording: str
    transcript: Transcript
    drawn: bool = False
    corrected: bool = False


def require_transcribed(transcribed: Transcribed | None, recording: str | None) -> Transcribed:
    """
    Checks that a session has transcribed a recording, and has not corrected it yet.

    Raises:
        EscoitaError: It has not, or it has.
    """
    if transcribed is None or transcribed.recording != recording:
        raise EscoitaError(say("refusal.not_heard"))
    if transcribed.corrected:
        raise EscoitaError(say("refusal.corrected"))
    return transcribed
