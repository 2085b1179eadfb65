"""Test that bars of huggingface_hub and Transformers do not break other output."""

import io
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from escoita.utils.progress_bars import above_bars, bars_closed_at_end, close_bars, without_bars
from tests.cards.publishing import REPO, client_environment, make_repositories, make_run
from tests.hub_double import serve
from tests.hub_double.faults import Fault
from tests.terminal import captured, screen


@pytest.mark.parametrize("shown", [True, False])
def test_bars_of_libraries_are_hidden_for_a_while(shown: bool) -> None:
    from transformers.utils import logging as output

    before = output.is_progress_bar_enabled()
    (output.enable_progress_bar if shown else output.disable_progress_bar)()
    try:
        with without_bars():
            assert not output.is_progress_bar_enabled()
        assert output.is_progress_bar_enabled() is shown
    finally:
        (output.enable_progress_bar if before else output.disable_progress_bar)()


@pytest.fixture(autouse=True)
def enabled_bars() -> Iterator[None]:
    """Enable the bars of huggingface_hub, which a command without a terminal disables."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    enable_progress_bars()
    yield
    if before:
        disable_progress_bars()


class Terminal(io.StringIO):
    """Collect what is written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_line_is_printed_above_the_bars_and_bars_that_were_left_open_are_erased() -> None:
    from huggingface_hub.utils import tqdm

    close_bars()  # those of other tests
    terminal = Terminal()
    with above_bars(terminal):
        terminal.write("before\n")
    bars = [tqdm(total=2, desc=name, file=terminal, ncols=60, disable=False) for name in ("first", "second", "third")]
    with above_bars(terminal):
        terminal.write("meanwhile\n")
    bars[2].close()
    lines = screen([terminal.getvalue()])
    assert lines[:2] == ["before", "meanwhile"] and any("third" in line for line in lines[2:])
    close_bars()
    terminal.write("after\n")
    lines = screen([terminal.getvalue()])
    assert "after" in lines and not any("first" in line or "second" in line for line in lines)


def test_bars_are_closed_at_the_end_of_the_last_open_context_only() -> None:
    from huggingface_hub.utils import tqdm

    def nested() -> None:
        with bars_closed_at_end():
            pass

    with bars_closed_at_end():
        bar = tqdm(total=2, file=Terminal(), ncols=60, disable=False)
        nested()
        with ThreadPoolExecutor(1) as threads:
            threads.submit(nested).result()
        assert not bar.disable
    assert bar.disable


def test_bars_that_other_threads_open_do_not_disturb_a_line() -> None:
    from huggingface_hub.utils import tqdm

    started, ended, opened = Event(), Event(), []

    def open_bars() -> None:
        while not ended.is_set():
            opened.append(tqdm(total=1, file=Terminal(), disable=False))
            if len(opened) == 50:
                started.set()
            if len(opened) > 50:
                opened.pop(0).close()

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(open_bars)
        started.wait(60)
        for _ in range(200):
            with above_bars(Terminal()):
                pass
        ended.set()
        done.result()
    close_bars()
    assert all(bar.disable for bar in opened)


@pytest.mark.slow
@pytest.mark.parametrize("xet", [False, True])
def test_push_and_verify_print_whole_lines_in_a_terminal(tmp_path: Path, xet: bool) -> None:
    with serve(tmp_path / "hub", xet=xet) as hub:
        make_repositories(hub, earlier=False)
        run = make_run(tmp_path / "run")
        found = client_environment(hub) | {"HF_HUB_DISABLE_PROGRESS_BARS": "0", "HF_HOME": str(tmp_path / "hf")}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | found

        def lines(*words: str, code: int = 0) -> list[str]:
            pieces, status = captured([sys.executable, "-m", "escoita", *words], environment)
            assert status == code, "".join(pieces)
            return screen(pieces)

        hub.faults.append(Fault("POST", "/commit/", status=503, headers={"Retry-After": "0"}))
        pushed = lines("push", "--run", str(run.path), "--repo", REPO)
        commit = hub.store.repos["model", REPO].at("main").id
        hub.faults.append(Fault("GET", "/resolve/", status=503, headers={"Retry-After": "0"}))
        verified = lines("verify", REPO, code=1)  # the run has no predictions
    retry = f"{REPO}: HTTP 503; retrying in 0 s"
    assert {retry, f"{hub.url}/{REPO}/commit/{commit}", f"Next: escoita verify {REPO}"} <= set(pushed)
    assert {retry, f"{REPO} at commit {commit}"} <= set(verified)
    for printed in (pushed, verified):
        assert any(line.startswith("Fetching") for line in printed)
        assert not any("bytes" in line or "Reconstruct" in line or "Download complete" in line for line in printed)
