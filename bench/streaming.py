"""Measure the engine of the page: the time to the first text, and the batching of concurrent requests."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from bench.clock import timed
from bench.measurement import Measurement
from bench.quickstart import load_clips
from escoita.audio.loading import SAMPLING_RATE, read_audio
from escoita.hub.files import adapter_record
from escoita.inference.serving import Engine
from escoita.models import family_of
from escoita.run_directory import RunDirectory
from escoita.utils.processes import peak_memory_bytes, reset_peak_memory, say


VISITORS = 20
ROUNDS = 9
CLIP_SECONDS = 3
ADAPTER = "adapter"
PLAIN = "PEFT's generate"


def measure_streaming(run: Path, visitors: int = VISITORS, rounds: int = ROUNDS) -> list[Measurement]:
    """
    Measure the time to the first text, and concurrent requests compared with consecutive ones.

    The time to the first text includes the features. It is compared with the time to the first token of `generate`
    with base and adapter in PEFT, with the same samples, in alternation. Concurrent requests with files are sent at
    the same time from one thread each, as on the page; consecutive ones are sent when the previous transcript is
    complete.

    Args:
        run (`Path`): Run directory of a trained quick start.
        visitors (`int`, *optional*, defaults to 20): Number of concurrent requests, each with its own clip.
        rounds (`int`, *optional*, defaults to 9): Number of measurements of each, in alternation.

    Raises:
        EscoitaError: The run has no adapter.
    """
    adapter, base = RunDirectory(run).trained_adapter(), RunDirectory(run).load_recipe().base
    files = load_clips("uz")[:visitors].column("audio")
    with Engine.load(base, {ADAPTER: adapter}) as engine:
        say("Streaming: the first text")
        first, plain = first_text(engine, base, adapter, rounds)
        say(f"Streaming: {visitors} visitors")
        alone, together, different = measure_visitors(engine, files, rounds)
        say("Streaming: through the API of the page")
        direct, through = first_text_through_the_api(engine, run, files[0], rounds)
    # Spawned, because a forked process would start with the memory of this one.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        peak_alone, peak = fresh.submit(peak_memory, base, adapter, files).result()
    return [
        Measurement(
            f"Page, first text of {CLIP_SECONDS} s",
            median(ours / theirs for ours, theirs in zip(first, plain, strict=True)),
            "times as long",
            f"{PLAIN}, its first token",
            at_most=1.3,
        ),
        Measurement(
            f"Page, time to the first text of {CLIP_SECONDS} s",
            1000 * median(first),
            "ms",
            f"{PLAIN}: {1000 * median(plain):.3g} ms",
        ),
        Measurement(
            "Page, first text of a file, through its API",
            1000 * median(through),
            "ms",
            f"the engine, without upload, queue and HTTP: {1000 * median(direct):.3g} ms",
        ),
        Measurement(
            f"Page, {visitors} visitors at once",
            median(one / many for one, many in zip(alone, together, strict=True)),
            "times as fast",
            "one after another",
            at_least=1.5,
        ),
        Measurement("Page, texts that differ", different, f"of {len(files)}", "one after another", at_most=0),
        Measurement(
            f"Page, peak memory, {visitors} visitors at once",
            peak / 1e6,
            "MB",
            f"one after another: {peak_alone / 1e6:.3g} MB",
        ),
    ]


def first_text(engine: Engine, base: str, adapter: str, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds to the first text, and to the first token of plain `generate`, of each round."""
    import torch
    from peft import PeftModel

    family, generation_settings = family_of(base), adapter_record(adapter)
    model = PeftModel.from_pretrained(family.load_model(base, dtype="float32"), adapter).eval()
    processor = family.load_processor(base)
    samples = np.concatenate([read_audio(path) for path in load_clips("uz")[:20].column("audio")])
    clip = samples[: CLIP_SECONDS * SAMPLING_RATE]

    @torch.inference_mode()
    def token() -> None:
        inputs = family.encode(processor, [clip], generation_settings.prompt)
        model.generate(**inputs, max_new_tokens=1, do_sample=False)

    ours: list[float] = []
    theirs: list[float] = []
    for number in range(rounds + 1):
        first, plain = seconds_to_text(engine, clip), timed(token)[1].wall
        if number:  # the first round is the warm-up
            ours, theirs = [*ours, first], [*theirs, plain]
    return ours, theirs


def first_text_through_the_api(engine: Engine, run: Path, file: str, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds to the first text of a file in each round: from the engine, and from the API of the page."""
    from gradio_client import Client, handle_file

    from escoita.space.app import build, start
    from escoita.space.demo import of_run

    demo = replace(of_run(run), adapters={ADAPTER: engine.adapters.sources[ADAPTER]}, ready=lambda: engine)
    page = build(replace(demo, loading=lambda: False))
    client = Client(start(page, demo), verbose=False, analytics_enabled=False)
    clip = handle_file(file)
    direct: list[float] = []
    through: list[float] = []
    try:
        for number in range(rounds + 1):
            ours = seconds_to_text(engine, file)
            asked = seconds_to_first(lambda: client.submit(clip, ADAPTER, api_name="/transcribe"))
            if number:
                direct, through = [*direct, ours], [*through, asked]
    finally:
        client.close()
        page.close(verbose=False)
    return direct, through


def seconds_to_text(engine: Engine, clip: "np.ndarray | str") -> float:
    """Return the seconds from a request to its first text; the rest is transcribed too."""
    return seconds_to_first(lambda: (known.text for known in engine.stream(clip, ADAPTER)))


def seconds_to_first(ask: Callable[[], Iterable[str]]) -> float:
    """Return the seconds from a call to the first text that is not empty."""
    started = time.perf_counter()
    shown = (time.perf_counter() - started for text in ask() if text)
    first = next(shown)
    list(shown)
    return first


def measure_visitors(engine: Engine, files: Sequence[str], rounds: int) -> tuple[list[float], list[float], int]:
    """Return the seconds of consecutive and of concurrent requests, and the number of texts that differ at last."""
    alone, together = [], []
    transcribed(engine, files, visitors=1)
    for _ in range(rounds):
        one, spent = timed(partial(transcribed, engine, files, visitors=1))
        alone.append(spent.wall)
        many, spent = timed(partial(transcribed, engine, files, visitors=len(files)))
        together.append(spent.wall)
    return alone, together, sum(one[index] != many[index] for index in range(len(files)))


def transcribed(engine: Engine, files: Sequence[str], visitors: int) -> list[str]:
    """Return the transcripts of recordings with a number of concurrent requests."""
    with ThreadPoolExecutor(visitors) as people:
        return list(people.map(partial(_text, engine), files))


def peak_memory(base: str, adapter: str, files: Sequence[str]) -> tuple[int, int]:
    """Return the peak memory of this process in bytes with consecutive, and with concurrent requests."""
    with Engine.load(base, {ADAPTER: adapter}) as engine:
        found = []
        for visitors in (1, len(files)):
            reset_peak_memory()
            transcribed(engine, files, visitors)
            found.append(peak_memory_bytes())
    return found[0], found[1]


def _text(engine: Engine, file: str) -> str:
    *_, last = engine.stream(file, ADAPTER)
    return last.text
