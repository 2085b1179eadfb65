"""Replace long recordings with a plain transcript by the clips of an alignment."""

from collections import Counter

from escoita.data.clips import measure_clips
from escoita.data.inspection.found import Found
from escoita.data.rows import Utterances
from escoita.errors import CorpusError
from escoita.inference.aligner import load_aligner, stated_license
from escoita.inference.model_source import base_and_adapter
from escoita.preparation.alignment import LONGEST, MIN_SCORE, MIN_SCORE_ROMANIZED, align_recordings
from escoita.records.preparation import AlignerRecord
from escoita.utils.files import public_name
from escoita.utils.formatting import duration
from escoita.utils.processes import say


class NothingAlignedError(CorpusError):
    """
    Report recordings of which no clip can be used after the alignment; `path` is the first transcript.

    Args:
        counts (`str`): The number of clips, and of recordings that cannot be aligned, by reason.
    """

    problem = "the alignment gives no clip that can be used ({counts})"
    hint = "check that the text is that of the recording, and that the aligner knows the language"
    counts: str


def cut_long_recordings(
    found: Found, model: str | None, language: str, min_score: float | None = None
) -> tuple[AlignerRecord | None, dict[str, float]]:
    """
    Replace recordings over 25 seconds that have a plain transcript by clips, and print what was done.

    Shorter recordings are replaced too if their transcript names several speakers.

    Args:
        found ([`~escoita.data.inspection.found.Found`]): The rows, which are changed in place.
        model (`str`, *optional*): The CTC model; if it is not given, only the number of such recordings is printed.
        language (`str`): The language of the transcripts.
        min_score (`float`, *optional*): The lowest score of a clip that is used. Defaults to 0.2, or 0.02 if the
            transcripts are romanized.

    Returns:
        `tuple[AlignerRecord | None, dict[str, float]]`: The record of the aligner, if something was aligned, and the
        score of each clip by its id.

    Raises:
        AlignerError: The model is no CTC model, or lacks the letters of the transcripts.
        NothingAlignedError: No clip of any recording can be used.
    """
    whole = [row for row in found.rows if row.offset is None]
    if not whole:
        return None, {}
    lengths = [measure.seconds for measure in measure_clips(Utterances.of(whole), "Measuring recordings")]
    long = [
        row
        for row, length in zip(whole, lengths, strict=True)
        if length > LONGEST or (length and row.audio in found.turns)
    ]
    if not long:
        return None, {}
    if model is None:
        say(f"Recordings to align with their plain transcripts: {len(long):,}; cut them with --aligner MODEL")
        return None, {}

    say(f"Loading {model} ...")
    aligner = load_aligner(model, language)
    aligner.prepare_for(" ".join(row.text for row in long))
    if min_score is None:
        min_score = MIN_SCORE_ROMANIZED if aligner.romanized else MIN_SCORE
    # Two folders may have recordings of one name; the ids of clips begin with those of recordings.
    result = align_recordings(list(Utterances.of(long).with_unique_ids()), aligner, min_score, found.turns)
    chosen = {id(row) for row in long}
    found.rows = [row for row in found.rows if id(row) not in chosen] + result.rows
    found.rejected += result.rejected
    found.left_out.update(result.left_out)
    license_name = stated_license(model, base_and_adapter(model)[0])
    say(f"Aligned: {len(long) - len(result.rejected):,} recordings, {len(result.rows):,} clips")
    for reason, count in result.left_out.most_common():
        say(f"  Left out: {count:,} clips: {reason}")
    if result.other_seconds:
        say(f"  Speech without text: {duration(result.other_seconds)}")
    say(f"  License of the aligner {model}: {license_name or 'not stated'}")
    if not found.rows:
        counts = Counter(result.left_out)
        counts.update(row.reason for row in result.rejected)
        shown = "; ".join(f"{reason}: {count:,}" for reason, count in counts.most_common())
        raise NothingAlignedError(path=long[0].source, counts=shown)
    record = AlignerRecord(
        model=public_name(model),
        license=license_name,
        romanized=aligner.romanized,
        min_score=min_score,
        recordings=len(long) - len(result.rejected),
        clips=len(result.rows),
        left_out_seconds=round(result.left_out_seconds, 3),
        other_seconds=round(result.other_seconds, 3),
    )
    return record, result.scores
