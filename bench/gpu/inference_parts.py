"""Check transcription, the engine of the page, resuming, and a process group on a device."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.gpu.bases import QUICKSTART, ROOT, e4b, notes, random_model
from bench.gpu.part import Context, Figure
from bench.gpu.training_parts import UZBEK


PROMPT = "Please transcribe this audio."


def check_transcription(context: Context) -> list[Figure]:
    """Measure seconds of audio per second with batches of several sizes, with an adapter, in 4 bits and merged."""
    import torch
    from peft import LoraConfig, get_peft_model

    from escoita.inference.batching import batches_by_seconds
    from escoita.inference.transcriber import Transcriber
    from escoita.records.training import AdapterRecord, Prompt

    tokens = 4 if context.toy else 256
    seconds = 1.0 if context.toy else 10.0
    sizes = (2.0, 4.0) if context.toy else (120.0, 480.0, 1200.0)
    settings = AdapterRecord(language="uz", prompt=Prompt(user=PROMPT), max_new_tokens=tokens)
    figures = []
    for kind in ("4 bits, adapter not merged", "16 bits, adapter merged"):
        four_bit = kind.startswith("4")
        family, processor, base = random_model(context, e4b(context), four_bit)
        base.generation_config.eos_token_id = None  # every transcript has the maximum length
        base.generation_config.pad_token_id = processor.tokenizer.pad_token_id
        adapter = LoraConfig(r=8, target_modules=family.info.target_modules, task_type="CAUSAL_LM")
        model = get_peft_model(base, adapter)
        model = model if four_bit else model.merge_and_unload()
        for size in sizes if four_bit else sizes[1:2]:
            clips = round(size / seconds)  # one batch, as its time hardly depends on its size
            transcriber = Transcriber(family, model, processor, settings, size)
            batches = list(batches_by_seconds([seconds] * clips, size))
            if context.on_gpu:
                torch.cuda.synchronize()
            started = time.perf_counter()
            done = sum(len(found) for _, found in transcriber.transcribe_batches(lambda i: notes(seconds, i), batches))
            took = time.perf_counter() - started
            name = f"{kind}, batches of {size:g} s"
            figures.append(Figure(f"{name}: {tokens} tokens a clip, RTFx", clips * seconds / took, "", at_least=0.001))
            figures.append(Figure(f"{name}: clips", done, "", clips, clips))
        del model, base
        if context.on_gpu:
            torch.cuda.empty_cache()
    return figures


def check_streams(context: Context) -> list[Figure]:
    """Measure the time to the first text of three concurrent recordings."""
    from escoita.inference.serving import Engine
    from escoita.inference.transcriber import Transcriber
    from escoita.records.training import AdapterRecord, Prompt

    system = "You are an assistant that transcribes speech accurately."
    settings = AdapterRecord(language="uz", prompt=Prompt(system=system, user=PROMPT), max_new_tokens=32)
    transcriber = Transcriber.load(str(QUICKSTART), settings=settings)
    files = sorted((UZBEK / "test").glob("*.ogg"))[:3]
    with Engine(transcriber, {}, {"": settings}) as engine:
        next(iter(engine.stream(files[0], prompt_adapter="")))  # the first request is slower

        def first_text(file: Path) -> float:
            started, first = time.perf_counter(), 0.0
            for partial in engine.stream(file, prompt_adapter=""):
                if partial.text:
                    first = first or time.perf_counter() - started
            return first or float("nan")

        with ThreadPoolExecutor(3) as threads:
            times = list(threads.map(first_text, files))
    return [Figure("three streams: longest time to the first text", max(times), "s", at_most=10)]


def training_command(context: Context, name: str, steps: int) -> list[str]:
    """Return the arguments that train a few steps of the quick start, with a checkpoint after each."""
    changes = [
        f"base={QUICKSTART}",
        f"run_dir={context.folder / name}",
        f"training.max_steps={steps}",
        "training.save_steps=1",
        "training.logging_steps=1",
        "training.eval_strategy=no",
        "validation.patience=null",
        "training.per_device_train_batch_size=4",
        "corpora.validation=[]",
        f"corpora.train=[{{name: c, path: {UZBEK / 'validation.jsonl'}}}]",
    ]
    arguments = [argument for change in changes for argument in ("--set", change)]
    return ["--recipe", str(ROOT / "recipes/quickstart-uzbek.yaml"), *arguments]


def check_resume(context: Context) -> list[Figure]:
    """Kill a training after its second checkpoint, and resume it."""
    from escoita.records.training import TrainingRecord
    from escoita.run_directory import RunDirectory

    steps = 8 if context.toy else 40
    command = [sys.executable, str(ROOT / "training/sft.py"), *training_command(context, "killed", steps)]
    run = RunDirectory(context.folder / "killed")
    with (context.folder / "killed.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)  # noqa: S603 our own script
        while process.poll() is None and not (run.checkpoints / "checkpoint-2").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = process.returncode == -signal.SIGKILL
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    print(again.stderr[-2000:])
    record = TrainingRecord.read(run.training) if run.training.exists() else None
    return [
        Figure("killed by SIGKILL", float(killed), "", at_least=1),
        Figure("resumed from a checkpoint", float("Resuming from" in again.stderr), "", at_least=1),
        Figure("steps after resuming", record.steps if record else 0, "", steps, steps),
    ]


def check_process_group(context: Context) -> list[Figure]:
    """Train in a process group of one process, over NCCL on a GPU: gather, save, clean exit."""
    from escoita.run_directory import RunDirectory

    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1", str(ROOT / "training/sft.py")]
    command = [sys.executable, *launcher, *training_command(context, "group", 2)]
    warnings = os.environ | {"NCCL_DEBUG": "WARN"}
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=warnings)  # noqa: S603
    print(ended.stderr[-2000:])
    run = RunDirectory(context.folder / "group")
    return [
        Figure("exit status of torchrun", ended.returncode, "", 0, 0),
        Figure("adapter written", float((run.adapter / "adapter_model.safetensors").exists()), "", at_least=1),
    ]
