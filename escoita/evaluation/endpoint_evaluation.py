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
from escoita.evaluation.predict import JOURNAL, append_batches, read_journals, resolve_bases, transcribe_all
from escoita.evaluation.predictions import Provenance, predictions_path, predictions_table, write_predictions
from escoita.evaluation.request import (
    EvaluationData,
    EvaluationRequest,
    SystemSpec,
    _named_by_file,
    corpus_test,
)
from escoita.evaluation.systems import baseline_systems, check_system
from escoita.metrics.normalizers import NORMALIZERS, default_normalizer
from escoita.models import family_for_evaluation
from escoita.models.chat import ChatFamily
from escoita.recipe.schema import Baseline, Corpus, Evaluation
from escoita.records.evaluation import (
    ADAPTER_SYSTEM,
    BASE,
    EARLIER,
    PROBES,
    Decoding,
    EndpointModel,
    EvaluationRecord,
    System,
    today,
)
from escoita.records.training import AdapterRecord, Prompt
from escoita.records.transcript import Transcript
from escoita.run_directory import RunDirectory
from escoita.utils.files import write_atomically
from escoita.utils.languages import check_language
from escoita.utils.processes import track


# The default number of concurrent requests.
CONCURRENCY = 4


@dataclass(frozen=True)
class Plan:
    """
    Store what an evaluation sends to a server.

    Args:
        host (`str`): The host of the server.
        model (`str`): The name of the model.
        clips (`int`): The number of clips that are not transcribed yet.
        minutes (`float`): The length of these clips, in minutes.
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
    baselines: Sequence[str] = (),
) -> EvaluationRequest:
    """
    Return the request for a model behind an endpoint, on manifests or on the test corpora of a run.

    Args:
        model (`str`): The name of the model on the server.
        out (`Path`): The folder for predictions and results.
        manifests (`Sequence[Path]`): The manifests.
        language (`str`, *optional*): The BCP 47 tag of the clips. The default is the language of the run's recipe.
        normalizer (`str`, *optional*): The text normalizer. The default is that of the recipe, else of the language.
        run (`Path`, *optional*): The run directory.
        overrides (`list[str]`, *optional*): The overrides of its recipe, `section.key=value`.
        baselines (`Sequence[str]`, *optional*): The Whisper or CTC models to compare with, which run on this machine.

    Returns:
        [`~escoita.evaluation.request.EvaluationRequest`]: The request, with one system.

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
    if language is None:
        raise EscoitaError("required without --run", key="--language", hint="write a tag, such as gl or uz-Latn")
    language = check_language(language)
    if normalizer is not None and normalizer not in NORMALIZERS:
        raise EscoitaError(
            "unknown normalizer", key="--normalizer", value=normalizer, hint=f"use one of {', '.join(NORMALIZERS)}"
        )
    chosen = normalizer or default_normalizer(language)
    # Probes without speech are not sent: servers return errors for them, or filter them with another model.
    update: dict[str, Any] = {
        "normalizer": chosen,
        "baselines": [Baseline(model=each) for each in baselines],
        "against": None,
        "retention": [],  # measured by adapter and base
        "probes": False,
        "num_beams": 1,
    }
    generation_settings = AdapterRecord(language=language, prompt=Prompt(user=""))
    systems = [SystemSpec(system_name(model), model, generation_settings)]
    return EvaluationRequest(systems, corpora, out, settings.model_copy(update=update), share, title)


def system_name(model: str) -> str:
    """Return the name of a served model in records."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", model.rstrip("/").rpartition("/")[2]).lstrip("._-")[:100] or "endpoint"
    return f"endpoint-{name}" if name in (BASE, ADAPTER_SYSTEM, EARLIER, PROBES) else name


def evaluate_endpoint(
    endpoint: Endpoint,
    request: EvaluationRequest,
    confirm: Callable[[Plan], None],
    concurrency: int = CONCURRENCY,
) -> EvaluationRecord:
    """
    Transcribe the corpora on a server, write the predictions, and score them when they are complete.

    Baselines transcribe the same clips on this machine before anything is sent. An evaluation resumes where it was
    interrupted, or where the server failed.

    Args:
        endpoint ([`~escoita.evaluation.endpoint.Endpoint`]): The server.
        request ([`~escoita.evaluation.request.EvaluationRequest`]): The request, from [`request_for_endpoint`].
        confirm (`Callable`): The function that is called with the plan before recordings are sent, and raises an error
            to refuse.
        concurrency (`int`, *optional*, defaults to 4): The number of concurrent requests.

    Returns:
        [`~escoita.records.evaluation.EvaluationRecord`]: The record, which is also written.

    Raises:
        EscoitaError: A corpus or a baseline cannot be read, or the server fails. No scores are computed then.
    """
    import torch
    from accelerate import PartialState

    language = request.systems[0].generation_settings.language
    tests = {corpus.name: corpus_test(corpus, language, request.max_rejected_share) for corpus in request.corpora}
    name, state = request.systems[0].name, PartialState(cpu=not torch.cuda.is_available())
    baselines = _baselines(request)
    setup = Setup(request, [*request.systems, *baselines], tests, state)
    with evaluation_lock(setup):
        listed = endpoint.listed_model()
        journals = {corpus: request.out / corpus / f"{JOURNAL}{name}" for corpus in tests}
        keys = {corpus: _key(endpoint, listed, test) for corpus, test in tests.items()}
        missing = {corpus: _missing(journals[corpus], keys[corpus], test) for corpus, test in tests.items()}
        if any(missing.values()):
            confirm(_plan(endpoint, tests, missing))
        if baselines:
            transcribe_all(baselines, tests, request.out, request.settings.batch_seconds, state)
        first = next(iter(tests))
        returned = ReturnedModel(endpoint.host, journals[first] / f"model-{keys[first][:16]}.txt")
        for corpus, test in tests.items():
            transcripts = _transcripts(endpoint, test, missing[corpus], returned, concurrency)
            title = f"Transcribing {corpus}, {name}: clips"
            append_batches(
                journals[corpus] / "0.jsonl", keys[corpus], track(transcripts, total=len(missing[corpus]), title=title)
            )
        system = _system(endpoint, name, returned.known or listed)
        for corpus, test in tests.items():
            known = read_journals(journals[corpus], keys[corpus])
            ordered = [known[number][0] for number in range(len(test.clips))]
            made = Provenance(corpus=corpus, rejected=test.rejected, system=system)
            table = predictions_table(test.clips, ordered, made)
            write_predictions(table, predictions_path(request.out, corpus, name))
        record = score_predictions(setup)
        write_results(setup, record)
        write_page(setup, record)
    return record


def _baselines(request: EvaluationRequest) -> list[SystemSpec]:
    """Return the baselines of a request, whose models were found."""
    served = request.systems[0]
    found = resolve_bases(
        baseline_systems(request.settings.baselines, served.generation_settings, taken={served.name})
    )
    for system in found:
        check_system(system, request.settings.baselines)
        if isinstance(family_for_evaluation(system.base, system.revision), ChatFamily):
            hint = "use a Whisper or CTC model"
            raise EscoitaError("needs the prompt of an adapter", key="--baseline", value=system.base, hint=hint)
    return found


class ReturnedModel:
    """
    Check that all responses of a server name the same model.

    Args:
        host (`str`): The host of the server.
        path (`Path`): The file that stores the name until the evaluation is complete.
    """

    def __init__(self, host: str, path: Path):
        self._host, self._path, self._lock = host, path, threading.Lock()
        self.known = path.read_text("utf-8") if path.is_file() else None

    def check(self, model: str | None) -> None:
        """
        Compare the model of a response with those of earlier responses.

        Args:
            model (`str`, *optional*): The name in the response.

        Raises:
            EndpointError: An earlier response named another model.
        """
        with self._lock:
            if model is None or model == self.known:
                return
            if self.known is not None:
                raise EndpointError(
                    f"the model changed; it was {self.known} before",
                    path=self._host,
                    value=model,
                    hint="use another --out, and a model name that refers to one version",
                )
            self.known = model
            write_atomically(self._path, model)


def _plan(endpoint: Endpoint, tests: Mapping[str, EvaluationData], missing: Mapping[str, list[int]]) -> Plan:
    lengths = {corpus: test.clips.column("audio_seconds") for corpus, test in tests.items()}
    total = sum(lengths[corpus][number] for corpus, numbers in missing.items() for number in numbers)
    count = sum(map(len, missing.values()))
    return Plan(endpoint.host, endpoint.model, count, total / 60, endpoint.local, endpoint.secure)


def _missing(journal: Path, key: str, test: EvaluationData) -> list[int]:
    """Return the indices of the clips that are not transcribed yet."""
    known = read_journals(journal, key) if journal.is_dir() else {}
    return [number for number in range(len(test.clips)) if number not in known]


def _transcripts(
    endpoint: Endpoint, test: EvaluationData, numbers: list[int], returned: ReturnedModel, concurrency: int
) -> Iterator[tuple[int, list[Transcript]]]:
    """Yield transcripts as they arrive; after a failure, those of the pending requests before the error is raised."""

    def transcribe(number: int) -> Transcript:
        clip = test.clips[number]
        result = endpoint.transcribe(test.load(number), clip.language, clip.id)
        returned.check(result.model)
        # No speed is computed, because the time would include the network and the queue of the server.
        return Transcript(result.text, clip.audio_seconds, 0.0)

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
    """Return the digest of the server, the model and the clips, on which the transcripts depend."""
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
        decoding=Decoding(num_beams=None),
        evaluated=today(),
        endpoint=EndpointModel(url=endpoint.url, model=endpoint.model, returned_model=returned),
    )
