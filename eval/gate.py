"""
Fail if an adapter became worse: exit with status 1 if its WER is significantly higher, or above a limit.

    python eval/gate.py runs/new/eval/results.json runs/old/eval/results.json --max-wer 0.2
"""

from escoita.cli.evaluation import gate
from escoita.cli.main import script


if __name__ == "__main__":
    script(gate)
