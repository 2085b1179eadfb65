"""Corrections on their way to a dataset of the Hub: clips, the manifest that names them, and a card."""

import json
import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitScheduler

from escoita.errors import EscoitaError
from escoita.utils.files import write_atomically
from escoita.space.texts import say


MANIFEST, CARD = "manifest.jsonl", "README.md"
# Corrections that wait for the Hub, should it not be reached; a clip of 30 seconds is under a megabyte.
MOST_WAITING = 200


def card(repo: str, language: str) -> str:
    """What the dataset says of itself; written once, and anybody's to change."""
    return f"""---
pretty_name: Corrections by visitors
language: [{language}]
task_categories: [automatic-speech-recognition]
configs:
  - {{config_name: default, data_files: {MANIFEST}}}
---
# Corrections by visitors

Recordings that visitors sent to the demo of a speech model, with the transcripts that they corrected. Each agreed to
this, in the language in which they read the page:

> {say("feedback.consent", repo=repo)}

Nobody has checked the transcripts. Clips are mono flac at 16 kHz; names of files, of persons and dates are not kept.

```bash
hf download {repo} --repo-type dataset --local-dir corpora/feedback
```

A recipe of escoita trains on them with

```yaml
corpora:
  train:
    - {{name: feedback, path: corpora/feedback/{MANIFEST}}}
```
"""


class Sender(CommitScheduler):
    """
    Sends corrections in one commit every few minutes, and forgets them here.

    CommitScheduler sends files that grow in a folder which only this process writes. A Space starts anew with an empty
    folder, and may run twice: so rows are put behind those that the manifest has on the Hub, in a commit on top of
    what was read. If another came first the Hub refuses it, and the next one tries again.
    """

    def add(self, name: str, clip: bytes, row: dict[str, Any]) -> None:
        """
        Lays a correction into the folder.

        Args:
            name (`str`): Of its files.
            clip (`bytes`): Goes where the row says.
            row (`dict`): A line of the manifest.

        Raises:
            EscoitaError: Too many wait.
        """
        audio, line = (self.folder_path / f"{name}.{ending}" for ending in ("flac", "json"))
        with self.lock:
            if len(list(self.folder_path.glob("*.json"))) >= MOST_WAITING:
                raise EscoitaError(say("refusal.corrections_wait"))
            try:
                write_atomically(audio, clip)
                # Last: what has no row is not sent.
                write_atomically(line, json.dumps(row, ensure_ascii=False))
            except BaseException:
                audio.unlink(missing_ok=True)
                raise

    def push_to_hub(self) -> CommitInfo | None:
        """One commit of all that waits; called by CommitScheduler, one at a time."""
        with self.lock:
            waiting = sorted(self.folder_path.glob("*.json"))
        if not waiting:
            return None
        info = self.api.dataset_info(self.repo_id)
        present = {file.rfilename for file in info.siblings or []}
        rows = {path: path.read_text("utf-8") for path in waiting}
        places = {path: str(json.loads(row)["audio_filepath"]) for path, row in rows.items()}
        # A commit whose answer was lost may be there already.
        new = [path for path in waiting if places[path] not in present]
        commit = None
        if new:
            lines = self._manifest(info.sha) if MANIFEST in present else ""
            contents: dict[str, Path | bytes] = {places[path]: path.with_suffix(".flac") for path in new}
            contents[MANIFEST] = (lines + "".join(f"{rows[path]}\n" for path in new)).encode()
            if CARD not in present:
                contents[CARD] = card(self.repo_id, json.loads(rows[new[0]])["lang"]).encode()
            commit = self.api.create_commit(
                self.repo_id,
                [CommitOperationAdd(place, content) for place, content in contents.items()],
                commit_message=f"Add {len(new)} correction{'s' if len(new) > 1 else ''}",
                repo_type=self.repo_type,
                parent_commit=info.sha,
            )
        with self.lock:
            for path in waiting:
                path.unlink()
                path.with_suffix(".flac").unlink()
        return commit

    def _manifest(self, revision: str | None) -> str:
        """The rows that are on the Hub, not kept in its cache here."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.api.hf_hub_download(
                self.repo_id, MANIFEST, repo_type=self.repo_type, revision=revision, local_dir=folder
            )
            text = Path(path).read_text("utf-8")
        return text if not text or text.endswith("\n") else f"{text}\n"
