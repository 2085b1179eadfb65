import os
import signal
import subprocess
import sys
import time

import pytest

from escoita.utils.interruption import Interrupted, StopRequest, raise_on_signals
from tests.conftest import ROOT


@pytest.mark.parametrize("signum, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_is_raised_and_handlers_are_restored(signum: signal.Signals, status: int) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as stopped, raise_on_signals():
        os.kill(os.getpid(), signum)
        time.sleep(10)
    assert stopped.value.status == status and not isinstance(stopped.value, Exception)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_deferred_signal_is_recorded_once(capfd: pytest.CaptureFixture[str]) -> None:
    with StopRequest().deferring() as request:
        assert request.signum is None
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # like `timeout`
        os.kill(os.getpid(), signal.SIGINT)
    assert request.signum == signal.SIGTERM
    (line,) = capfd.readouterr().err.splitlines()
    assert "SIGTERM" in line


def run(program: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


STUBBORN = """
import os, signal, time
from escoita.utils import interruption
interruption.SAME_REQUEST = 0.1
with interruption.StopRequest().deferring():
    print("ready", flush=True)
    time.sleep(60)
"""


def test_second_signal_ends_the_process() -> None:
    process = run(STUBBORN)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143


WORKER = """
import os, time
from escoita.utils.interruption import shield_worker
shielded, write = os.pipe()
worker = os.fork()
if worker == 0:
    shield_worker(0)
    os.write(write, b"1")
    time.sleep(60)
os.read(shielded, 1)  # a signal before that ends the worker
print("ready", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows who sent a signal")
def test_worker_ends_only_at_the_signal_of_its_parent() -> None:
    ending = "time.sleep(1)\nos.kill(worker, 15)\nprint(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))"
    others = "for number in (2, 15):\n    os.system(f'kill -{number} {worker}')"
    process = run(f"{WORKER}{others}\n{ending}")
    output, _ = process.communicate(timeout=60)
    assert output == "0\n"
