import pickle

from escoita.errors import AudioError


def test_what_is_wrong_with_a_clip_reaches_another_process() -> None:
    found = pickle.loads(pickle.dumps(AudioError("clip.wav", "the file is empty")))  # noqa: S301 - our own
    assert isinstance(found, AudioError) and str(found) == "clip.wav: the file is empty"
    assert (found.name, found.reason) == ("clip.wav", "the file is empty")
