"""Test transcriptions that do not depend on a connection."""

import threading
from collections.abc import Generator

import pytest

from escoita.inference.streaming import Partial
from escoita.space import jobs
from escoita.space.jobs import Job, Jobs
from escoita.space.refusals import Refusal


class Steps:
    """Yield a text for each step that a test allows."""

    def __init__(self, *texts: str | Exception):
        self.texts, self.allowed, self.closed = texts, threading.Semaphore(0), threading.Event()

    def stream(self) -> Generator[Partial, None, None]:
        try:
            for text in self.texts:
                self.allowed.acquire(timeout=30)
                if isinstance(text, Exception):
                    raise text
                yield Partial(text, (), 0.0, 1.0)
        finally:
            self.closed.set()


def texts_of(job: Job[Partial]) -> list[str]:
    return [partial.text for partial in job.follow()]


def test_a_job_continues_without_a_follower_and_is_found_again() -> None:
    steps, found = Steps("bir", "bir ikki", "bir ikki uch"), Jobs()
    job = found.start("a.wav", steps.stream)
    first = job.follow()
    steps.allowed.release()
    assert next(first).text == "bir"
    first.close()  # type: ignore[attr-defined]
    steps.allowed.release(2)
    assert steps.closed.wait(30)
    assert found.find(job.id) is job
    assert texts_of(job)[-1] == "bir ikki uch" and job.recording == "a.wav"


def test_a_follower_gets_every_new_result() -> None:
    steps = Steps("bir", "bir ikki")
    job = Jobs().start("a.wav", steps.stream)
    texts = []
    steps.allowed.release()
    for partial in job.follow():
        texts.append(partial.text)
        steps.allowed.release()
    assert texts == ["bir", "bir ikki"]


def test_an_error_is_raised_for_each_follower() -> None:
    steps = Steps("bir", Refusal("silence"))
    job = Jobs().start("a.wav", steps.stream)
    steps.allowed.release(2)
    for _ in range(2):
        with pytest.raises(Refusal) as caught:
            texts_of(job)
        assert caught.value.text_key == "silence"


def test_a_stopped_job_closes_its_stream() -> None:
    steps = Steps("bir", "bir ikki", "bir ikki uch")
    job = Jobs().start("a.wav", steps.stream)
    steps.allowed.release()
    assert next(iter(job.follow())).text == "bir"
    job.stop()
    steps.allowed.release()
    assert steps.closed.wait(30)
    assert texts_of(job) in (["bir"], ["bir ikki"])


def test_a_job_is_forgotten_some_time_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, found = Steps("bir"), Jobs()
    steps.allowed.release()
    job = found.start("a.wav", steps.stream)
    texts_of(job)
    monkeypatch.setattr(jobs, "KEPT_SECONDS", -1.0)
    assert found.find(job.id) is None


@pytest.mark.parametrize("name", ["", "other", None, 3, {"id": "x"}])
def test_an_unknown_name_finds_nothing(name: object) -> None:
    assert Jobs().find(name) is None
