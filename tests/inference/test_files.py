from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from escoita.errors import AudioError, EscoitaError
from escoita.inference.files import AUDIO_ENDINGS, FileResult, check_outputs, find_files, transcribe_files
from tests.length_model import INVALID_SAMPLE, LengthModel, clip, length_transcriber
from tests.samples import write_clip


def stems(*arguments: str | Path) -> list[str]:
    return [file.stem.as_posix() for file in find_files([str(each) for each in arguments])[0]]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Return a folder with recordings and other files in subfolders."""
    for name in ("1.wav", "a/1.flac", "a/b/2.OGG", ".hidden/3.wav", "a/.4.wav", "a/notes.txt"):
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "corpus"


def test_folders_keep_their_structure(corpus: Path) -> None:
    assert stems(corpus) == ["1", "a/1", "a/b/2"]


def test_files_may_have_any_ending_if_they_are_named(corpus: Path) -> None:
    assert stems(corpus / "a/notes.txt", corpus / "a/.4.wav") == ["notes", ".4"]


@pytest.mark.parametrize(
    "pattern, found",
    [
        ("*.wav", ["1"]),
        ("a/*", ["1", "b/2"]),
        ("**/*.flac", ["a/1"]),
        ("**", ["1", "a/1", "a/b/2"]),
        ("[a]/1.fl?c", ["a/1"]),
    ],
)
def test_globs_are_expanded(corpus: Path, pattern: str, found: list[str]) -> None:
    assert stems(f"{corpus}/{pattern}") == found


def test_names_with_brackets_are_not_globs(tmp_path: Path) -> None:
    (tmp_path / "take [1].wav").write_bytes(b"")
    assert stems(tmp_path / "take [1].wav") == ["take [1]"]


def test_each_recording_is_found_once(corpus: Path) -> None:
    (corpus / "link.wav").symlink_to(corpus / "1.wav")
    files, errors = find_files([str(corpus / "1.wav"), str(corpus), f"{corpus}/*.wav"])
    assert [file.stem.as_posix() for file in files] == ["1", "a/1", "a/b/2"] and not errors


def test_a_path_or_glob_without_recordings_is_reported(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    arguments = [str(tmp_path / name) for name in ("empty", "none.wav", "*.mp3")]
    files, errors = find_files([*arguments, str(corpus / "1.wav")])
    assert [error.path for error in errors] == arguments and len(files) == 1


def test_two_recordings_are_not_written_to_one_output(corpus: Path) -> None:
    files, _ = find_files([str(corpus / "1.wav"), str(corpus / "a/1.flac")])
    with pytest.raises(EscoitaError) as refusal:
        check_outputs(files, Path("out"))
    assert refusal.value.path == corpus / "a/1.flac" and str(corpus / "1.wav") in refusal.value.problem
    check_outputs(find_files([str(corpus)])[0], Path("out"))


def test_outputs_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    for name in ("A.wav", "a.mp3"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(EscoitaError):
        check_outputs(find_files([str(tmp_path)])[0], Path("out"))


def test_outputs_have_the_names_of_the_recordings(corpus: Path) -> None:
    files, _ = find_files([str(corpus)])
    assert files[2].output(Path("out"), "srt") == Path("out/a/b/2.srt")
    assert files[2].output(Path("out"), "textgrid") == Path("out/a/b/2.TextGrid")


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "opus", "mp3", "m4a", "mp4", "webm", "mov", "3gp", "caf"])
def test_formats_of_browsers_and_telephones_are_found(ending: str) -> None:
    assert ending in AUDIO_ENDINGS


def write_clips(folder: Path, lengths: Sequence[int]) -> Path:
    folder.mkdir(exist_ok=True)
    for place, length in enumerate(lengths):
        write_clip(folder / f"{place}.wav", clip(length), subtype="FLOAT")
    return folder


def transcribed(
    folder: Path, model: LengthModel, batch_seconds: float = 100.0, longest: float | None = None
) -> dict[str, FileResult]:
    files, _ = find_files([str(folder)])
    return {
        result.file.path.name: result
        for result in transcribe_files(length_transcriber(model, batch_seconds), files, longest)
    }


def test_segments_of_several_recordings_are_batched(tmp_path: Path) -> None:
    """The model accepts one second, and its text is the number of samples of a segment."""
    model = LengthModel()
    found = transcribed(write_clips(tmp_path / "clips", [4000, 24_000, 5000]), model)
    transcripts = {name: result.transcript for name, result in found.items()}
    assert all(transcripts.values()) and len(model.batches) == 1 and len(model.batches[0]) == 4
    assert (text := transcripts["1.wav"]) is not None and sum(map(int, text.text.split())) == 24_000
    assert text.audio_seconds == 1.5 and len(text.segments) == 2 and text.tokens > 0 and text.compute_seconds > 0


def test_texts_are_those_of_the_transcriber(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", [4000, 40_000, 5000, 17_000])
    found = transcribed(folder, LengthModel(), batch_seconds=1.5)
    expected = length_transcriber(LengthModel())
    for name, result in found.items():
        assert result.transcript is not None
        other = expected.transcribe_file(folder / name)
        assert (result.transcript.text, result.transcript.segments) == (other.text, other.segments)
        assert (result.transcript.tokens, result.transcript.truncated) == (other.tokens, other.truncated)


def test_segments_can_be_shorter_than_the_limit_of_the_model(tmp_path: Path) -> None:
    found = transcribed(write_clips(tmp_path / "clips", [16_000]), LengthModel(), longest=0.3)
    assert (transcript := found["0.wav"].transcript) is not None and len(transcript.segments) >= 4
    assert all(segment.end - segment.start <= 0.3 for segment in transcript.segments)


def test_an_unreadable_recording_does_not_stop_others(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "clips", [4000, 5000])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "broken.ogg").write_bytes(b"OggS" + bytes(range(256)))
    write_clip(folder / "silent.wav", np.zeros(8000, np.float32))
    (folder / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    found = transcribed(folder, LengthModel())
    assert sorted(name for name, result in found.items() if result.error is None) == ["0.wav", "1.wav"]
    for name in ("empty.wav", "broken.ogg", "silent.wav", "gone.wav"):
        assert isinstance(error := found[name].error, AudioError) and error.path == folder / name


def test_a_refused_recording_does_not_stop_others(tmp_path: Path) -> None:
    """The family of these tests refuses a batch with an invalid first sample."""
    folder = write_clips(tmp_path / "clips", [4000, 5000])
    poisoned = clip(40_000)
    poisoned[0] = np.float32(INVALID_SAMPLE)
    write_clip(folder / "poison.wav", poisoned, subtype="FLOAT")
    found = transcribed(folder, LengthModel())
    assert (error := found["poison.wav"].error) is not None and error.path == folder / "poison.wav"
    assert [found[name].error for name in ("0.wav", "1.wav")] == [None, None] and len(found) == 3


def test_progress_adds_up_to_one_for_each_recording(tmp_path: Path) -> None:
    files, _ = find_files([str(write_clips(tmp_path / "clips", [4000, 40_000]))])
    reported: list[tuple[float, float]] = []

    def advance(share: float, seconds: float) -> None:
        reported.append((share, seconds))

    assert len(list(transcribe_files(length_transcriber(LengthModel(), 1.0), files, on_progress=advance))) == 2
    assert sum(share for share, _ in reported) == pytest.approx(2.0)
    assert sum(seconds for _, seconds in reported) == pytest.approx(2.75)
