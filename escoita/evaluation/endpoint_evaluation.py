"""Evaluate a model behind OpenAI's API for transcription, with the same statistics as any other model."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escoita.errors import EscoitaError
from escoita.evaluation.endpoint import Endpoint, EndpointError
from escoita.evaluation.evaluate import Setup, evaluation_lock, score_predictions, write_page, write_results
from escoita.evaluation.predict import JOURNAL, append_batches, read_journals
from escoita.evaluation.predictions import Provenance, predictions_path, predictions_table, write_predictions
from escoita.evaluation.request import (
    Candidate,
    EvaluationData,
    EvaluationRequest,
    _named_by_file,
    corpus_test,
)
from escoita.metrics.normalizers import NORMALIZERS, default_normalizer
from escoita.recipe.schema import Corpus, Evaluation
from escoita.records.evaluation import BASE, EARLIER, PROBES, SUBJECT, EndpointModel, EvaluationRecord, System
from escoita.records.training import AdapterRecord, Prompt
from escoita.records.transcript import Transcript
from escoita.run_directory import RunDirectory
from escoita.utils.files import write_atomically
from escoita.utils.processes import track


# Requests at once.
CONCURRENCY = 4


@dataclass(frozen=True)
class Plan:
    """
    Hold what an evaluation sends to a server.

    Args:
        host (`str`): The host of the server.
        model (`str`): The model.
        clips (`int`): The number of clips that are still to be sent.
        minutes (`float`): Their length.
        local (`bool`): Whether the server is on this machine.
        secure (`bool`): Whether the connection is encrypted.
    """

    host: str
    model: str
    clips: int
    minutes: float
    local: bool
    secure: bool

    def __str__(self) -> str:
        plain = "" if self.secure or self.local else ", without encryption"
        return f"{self.clips:,} clips ({self.minutes:.1f} minutes of audio) are sent to {self.host}{plain}"


def request_for_endpoint(
    model: str,
    out: Path,
    manifests: Sequence[Path] = (),
    language: str | None = None,
    normalizer: str | None = None,
    run: Path | None = None,
    overrides: list[str] | None = None,
) -> EvaluationRequest:
    """
    Return what is to be measured of a model behind an endpoint: on manifests, or on the test corpora of a run.

    Args:
        model (`str`): The name that the server has for the model.
        out (`Path`): The folder for predictions and results.
        manifests (`Sequence[Path]`): The manifests.
        language (`str`, *optional*): ISO 639 code of the clips (default: that of the run's recipe).
        normalizer (`str`, *optional*): The text normalizer (default: that of the recipe, else of the language).
        run (`Path`, *optional*): The run directory.
        overrides (`list[str]`, *optional*): `section.key=value`, overrides of its recipe.

    Raises:
        EscoitaError: The language or the normalizer is missing or unknown, or the recipe cannot be read.
    """
    corpora: list[Corpus]
    settings, share, title = Evaluation(), 1.0, None
    if run is not None:
        recipe = RunDirectory(run).load_recipe(overrides)
        corpora, settings, language = recipe.corpora.test, recipe.eval, language or recipe.language
        share, title = recipe.corpora.max_rejected_share, recipe.card.title
        normalizer = normalizer or recipe.eval.normalizer
    else:
        corpora = _named_by_file(list(manifests))
    if language is None or not re.fullmatch("[a-z]{2,3}", language):
        raise EscoitaError("is no ISO 639 code", key="--language", value=language or "", hint="write it as in gl")
    if normalizer is not None and normalizer not in NORMALIZERS:
        raise EscoitaError(f"is none of {', '.join(NORMALIZERS)}", key="--normalizer", value=normalizer)
    chosen = normalizer or default_normalizer(language)
    # Silence and noise are not sent: servers answer them with errors, or with another model's judgment.
    update: dict[str, Any] = {"normalizer": chosen, "baselines": [], "against": None, "probes": False}
    spoken = AdapterRecord(language=language, prompt=Prompt(user=""))
    candidates = [Candidate(system_name(model), model, spoken)]
    return EvaluationRequest(candidates, corpora, out, settings.model_copy(update=update), share, title)


def system_name(model: str) -> str:
    """Return the name that records have for a model of a server."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", model.rstrip("/").rpartition("/")[2]).lstrip("._-")[:100] or "endpoint"
    return f"endpoint-{name}" if name in (BASE, SUBJECT, EARLIER, PROBES) else name


def evaluate_endpoint(
    endpoint: Endpoint,
    asked: EvaluationRequest,
    confirm: Callable[[Plan], None],
    concurrency: int = CONCURRENCY,
) -> EvaluationRecord:
    """
    Transcribe the corpora by a server, write the predictions, and score them once all are there.

    An evaluation that was interrupted, or that the server failed, resumes where it stopped.

    Args:
        endpoint ([`~escoita.evaluation.endpoint.Endpoint`]): The server.
        asked ([`~escoita.evaluation.request.EvaluationRequest`]): From [`request_for_endpoint`].
        confirm (`Callable`): Called with the plan before any recording is sent; raises an error to refuse.
        concurrency (`int`, *optional*, defaults to 4): The number of requests at once.

    Raises:
        EscoitaError: A corpus cannot be read, or the server fails. Nothing is then scored.
    """
    from accelerate import PartialState

    language = asked.candidates[0].generation_settings.language
    tests = {corpus.name: corpus_test(corpus, language, asked.max_rejected_share) for corpus in asked.corpora}
    setup = Setup(asked, asked.candidates, tests, PartialState(cpu=True))
    name = asked.candidates[0].name
    with evaluation_lock(setup):
        listed = endpoint.listed_model()
        journals = {corpus: asked.out / corpus / f"{JOURNAL}{name}" for corpus in tests}
        keys = {corpus: _key(endpoint, listed, test) for corpus, test in tests.items()}
        missing = {corpus: _missing(journals[corpus], keys[corpus], test) for corpus, test in tests.items()}
        if any(missing.values()):
            confirm(_plan(endpoint, tests, missing))
        first = next(iter(tests))
        returned = ReturnedModel(endpoint.host, journals[first] / f"model-{keys[first][:16]}.txt")
        for corpus, test in tests.items():
            answers = _answers(endpoint, test, missing[corpus], returned, concurrency)
            title = f"Transcribing {corpus}, {name}: clips"
            append_batches(
                journals[corpus] / "0.jsonl", keys[corpus], track(answers, total=len(missing[corpus]), title=title)
            )
        system = _system(endpoint, name, returned.known or listed)
        for corpus, test in tests.items():
            known = read_journals(journals[corpus], keys[corpus])
            transcripts = [known[number][0] for number in range(len(test.clips))]
            made = Provenance(corpus=corpus, rejected=test.rejected, system=system)
            table = predictions_table(test.clips, transcripts, made)
            write_predictions(table, predictions_path(asked.out, corpus, name))
        record = score_predictions(setup)
        write_results(setup, record)
        write_page(setup, record)
    return record


class ReturnedModel:
    """
    Hold the name of the model that the answers of a server carry, which must be the same in all of them.

    Args:
        host (`str`): The host of the server.
        path (`Path`): The file that keeps the name until the evaluation is complete.
    """

    def __init__(self, host: str, path: Path):
        self._host, self._path, self._lock = host, path, threading.Lock()
        self.known = path.read_text("utf-8") if path.is_file() else None

    def check(self, model: str | None) -> None:
        """
        Take the model of an answer.

        Raises:
            EndpointError: An earlier answer was of another model.
        """
        with self._lock:
            if model is None or model == self.known:
                return
            if self.known is not None:
                raise EndpointError(
                    f"answers with {model}, and answered with {self.known} before",
                    path=self._host,
                    hint="evaluate into another folder, with a name that stands for one model",
                )
            self.known = model
            write_atomically(self._path, model)


def _plan(endpoint: Endpoint, tests: Mapping[str, EvaluationData], missing: Mapping[str, list[int]]) -> Plan:
    lengths = {corpus: test.clips.column("audio_seconds") for corpus, test in tests.items()}
    total = sum(lengths[corpus][number] for corpus, numbers in missing.items() for number in numbers)
    count = sum(map(len, missing.values()))
    return Plan(endpoint.host, endpoint.model, count, total / 60, endpoint.local, endpoint.secure)


def _missing(journal: Path, key: str, test: EvaluationData) -> list[int]:
    """Return the clips that no earlier evaluation has transcribed."""
    known = read_journals(journal, key) if journal.is_dir() else {}
    return [number for number in range(len(test.clips)) if number not in known]


def _answers(
    endpoint: Endpoint, test: EvaluationData, numbers: list[int], returned: ReturnedModel, concurrency: int
) -> Iterator[tuple[int, list[Transcript]]]:
    """Yield the transcript of each clip as it arrives. After a failure those that are on the way are awaited first."""

    def transcribe(number: int) -> Transcript:
        clip = test.clips[number]
        answer = endpoint.transcribe(test.load(number), clip.language, clip.id)
        returned.check(answer.model)
        # The time includes the network and the queue of the server, so that no speed is computed from it.
        return Transcript(answer.text, clip.audio_seconds, 0.0)

    rest, running, failure = iter(numbers), dict[Future[Transcript], int](), None
    threads = ThreadPoolExecutor(concurrency)
    try:
        while True:
            while failure is None and len(running) < concurrency and (number := next(rest, None)) is not None:
                running[threads.submit(transcribe, number)] = number
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                number = running.pop(future)
                if error := future.exception():
                    failure = failure or error
                else:
                    yield number, [future.result()]
        if failure is not None:
            raise failure
    finally:
        if running:  # interrupted
            endpoint.close()
        threads.shutdown(cancel_futures=True)


def _key(endpoint: Endpoint, listed: str | None, test: EvaluationData) -> str:
    """Return the digest of everything that decides what is sent, and where."""
    clips = [test.clips.column(name) for name in ("id", "audio_seconds", "language")]
    content = [endpoint.url, endpoint.model, listed, clips]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _system(endpoint: Endpoint, name: str, returned: str | None) -> System:
    return System(
        name=name,
        base=returned or endpoint.model,
        base_sha256="",
        adapter=None,
        adapter_sha256=None,
        max_new_tokens=None,
        batch_seconds=0,
        processes=1,
        device=endpoint.host,
        dtype="unknown",
        peak_memory_bytes=0,
        endpoint=EndpointModel(url=endpoint.url, model=endpoint.model, returned_model=returned),
    )
