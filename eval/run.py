"""
Evaluate an adapter on test corpora, next to its base and whatever else it is to be compared with.

    python eval/run.py --run runs/quickstart-uzbek
    python eval/run.py --run runs/quickstart-uzbek --baseline openai/whisper-small --against user/adapter@v1
    python eval/run.py --base quickstart/gemma4 --adapter user/adapter --corpus test.jsonl --out results
    torchrun --nproc_per_node 2 -- eval/run.py --run runs/quickstart-uzbek

Writes the predictions of each corpus and system and, from these alone, `results.json` and `report.html`. A run that
was killed continues when the command is given again. Several processes, on one machine or on several that share the
folder, share the batches and predict the same as one.
"""

from escoita.cli.evaluation import evaluate
from escoita.cli.main import script


if __name__ == "__main__":
    script(evaluate)
