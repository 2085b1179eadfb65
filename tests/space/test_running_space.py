import pytest

from escoita.space.running_space import DifferentTranscriptError, compare_transcripts


SPACE = "ana/page"


def test_different_transcripts_are_an_error() -> None:
    assert "'salom'" in compare_transcripts(SPACE, "salom", "salom")
    with pytest.raises(DifferentTranscriptError) as caught:
        compare_transcripts(SPACE, "salom", "{salem}")
    assert (caught.value.path, caught.value.there, caught.value.here) == (SPACE, "salom", "{salem}")
