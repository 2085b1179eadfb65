"""Find predictions of an earlier evaluation that need not be computed again, such as if only a baseline is new."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from escoita import __version__
from escoita.audio.speech_detection import speech_detector
from escoita.data.rows import Utterances
from escoita.errors import RecordError
from escoita.evaluation.predictions import predictions_path, read_predictions
from escoita.evaluation.request import EvaluationData, SystemSpec, transcribes
from escoita.hub.files import weights_digest
from escoita.utils.files import sha256
from escoita.utils.processes import device, device_name


# The columns of a corpus that predictions contain or depend on; the others name the place of a row.
COLUMNS = ("id", "text", "language", "speaker", "gender", "accent", "offset", "audio_seconds")
# The libraries that hypotheses depend on.
LIBRARIES = ("torch", "transformers", "peft")
# The keys of predictions, by system and corpus.
Keys = dict[tuple[str, str], str]


def reuse_keys(systems: Sequence[SystemSpec], tests: Mapping[str, EvaluationData], batch_seconds: float) -> Keys:
    """
    Return digests of all that predictions depend on, without loading a model.

    Args:
        systems (`Sequence[SystemSpec]`): The systems, with resolved bases; others have no keys.
        tests (`Mapping[str, EvaluationData]`): The clips of each corpus, by name.
        batch_seconds (`float`): The most audio in a batch, in seconds.

    Returns:
        `dict[tuple[str, str], str]`: The digest of each system and corpus.
    """
    corpora = {
        name: [test.rejected, test.retention, test.prompt and test.prompt.model_dump(), _digest_of(test.clips)]
        for name, test in tests.items()
    }
    libraries = [__version__, *(version(library) for library in LIBRARIES)]
    surroundings = [device_name(device()), libraries, batch_seconds, speech_detector()]
    keys: Keys = {}
    for system in systems:
        base = system.resolved
        if base is None:
            continue
        model = {
            # The commit of a repository, whose weights may not be downloaded yet, determines them.
            "base": [base.name, base.revision] if base.revision else base.digest(),
            "adapter": weights_digest(system.adapter) if system.adapter else None,
            "files": [_digests_in(folder) for folder in (base.name, system.adapter) if folder],
            "names": [system.name, system.adapter_name, base.expected_sha256],
            "settings": system.generation_settings.model_dump(),
            "decoding": [system.own_limit, system.num_beams, system.dtype],
        }
        for name, corpus in corpora.items():
            if not transcribes(system, tests[name]):
                continue
            content = json.dumps([model, corpus, surroundings])
            keys[system.name, name] = hashlib.sha256(content.encode()).hexdigest()
    return keys


def _digests_in(source: str) -> list[tuple[str, str]]:
    """Return the digests of configuration, tokenizer and chat template in a folder; empty for a repository."""
    paths = sorted(path for path in Path(source).glob("*") if path.suffix in (".json", ".jinja", ".txt", ".model"))
    return [(path.name, sha256(path)) for path in paths]


def _digest_of(clips: Utterances) -> str:
    """Return the digest of the rows of a corpus; a changed file is noticed by its size and time."""
    digest = hashlib.sha256()
    for name in COLUMNS:
        digest.update(json.dumps(clips.column(name)).encode())
    for clip in clips:
        path = Path(clip.audio)
        if clip.embedded is not None:
            digest.update(hashlib.sha256(clip.embedded).digest())
        elif path.is_file():
            found = path.stat()
            digest.update(f"{found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def stored(out: Path, keys: Keys) -> set[tuple[str, str]]:
    """
    Return the systems and corpora whose predictions exist and have the same keys.

    Args:
        out (`Path`): The folder of the evaluation.
        keys (`dict[tuple[str, str], str]`): The keys from [`reuse_keys`].
    """
    found = set()
    for (system, corpus), key in keys.items():
        path = predictions_path(out, corpus, system)
        try:
            if path.is_file() and read_predictions(path)[1].key == key:
                found.add((system, corpus))
        except RecordError:  # another version wrote the file, or something else damaged it
            continue
    return found
