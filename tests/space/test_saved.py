"""Test what the browser stores of a transcription."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escoita.space.jobs import Job
from escoita.space.saved import SHOWN_SECONDS, Saved, storable


def test_a_stored_job_is_read_again() -> None:
    job: Job[str] = Job("secret", "/srv/uploads/3f/ola.wav")
    saved = Saved.of(json.loads(json.dumps(storable(job, ["bo día", ""], ["base", "gl"]))))
    assert (saved.job, saved.name, saved.texts) == ("secret", "ola.wav", ("bo día", "")) and saved.shown
    assert saved.models == ("base", "gl")


@pytest.mark.parametrize("texts, age, shown", [([], 0, False), ([""], 0, False), (["a"], 0, True), (["a"], 1, False)])
def test_texts_are_shown_for_some_time(texts: list[str], age: int, shown: bool) -> None:
    stored = time.time() - age * (SHOWN_SECONDS + 1)
    assert Saved.of({"job": "x", "name": "a.wav", "texts": texts, "time": stored}).shown is shown


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3))


@given(st.dictionaries(st.sampled_from(["job", "name", "texts", "models", "time"]), JSON) | JSON)
def test_any_value_of_a_browser_is_read(state: object) -> None:
    saved = Saved.of(state)
    assert isinstance(saved.job, str) and all(isinstance(text, str) for text in saved.texts + saved.models)
    assert isinstance(saved.note("status.kept", "uz"), str)


def test_a_name_is_escaped() -> None:
    assert "<b>" not in Saved("x", "<b>.wav").note("status.kept", "en")
