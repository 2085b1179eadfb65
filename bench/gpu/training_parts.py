"""Check the recipes, training, quantization and out-of-memory recovery on a device."""

import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.gpu.bases import QUICKSTART, ROOT, e4b, notes, phi4, random_model, wide
from bench.gpu.part import Context, Figure


UZBEK = ROOT / "quickstart/corpus/uz"


def check_machine(context: Context) -> list[Figure]:
    """Check GPU and bfloat16, and run the preflight check of both real recipes on bases without weights."""
    import torch

    from escoita.recipe.schema import load_recipe
    from escoita.training.preflight.report import examine

    figures = []
    if context.on_gpu:
        free, total = torch.cuda.mem_get_info()
        figures += [
            Figure("memory of the GPU", total / 1e9, "GB", at_least=23),
            Figure("free memory", free / 1e9, "GB", at_least=20),
            Figure("bfloat16 is supported", float(torch.cuda.is_bf16_supported(including_emulation=False)), "", 1),
        ]
    corpora = [
        f"corpora.{split}=[{{name: c, path: {UZBEK / split}.jsonl}}]" for split in ("train", "validation", "test")
    ]
    four_bit = _installed("bitsandbytes")
    recipes = {
        "gemma4-uzbek": [
            f"base={e4b(context)}",
            "engine=transformers",
            f"load_in_4bit={str(four_bit).lower()}",
            *([] if four_bit else ["training.optim=adamw_torch"]),
        ],
        "phi4-galician": [f"base={phi4(context)}", "base_revision=null"],
    }
    for name, changes in recipes.items():
        if context.toy:
            changes += ["method.trainable.audio=some"]
            changes += ["method.trainable.language=some"] if name == "gemma4-uzbek" else []
        if not context.on_gpu:
            changes += ["training.fp16=false", "training.bf16=false", "dtype=float32"]
        recipe = load_recipe(
            ROOT / f"recipes/{name}.yaml", [*changes, *corpora, f"run_dir={context.folder / 'doctor'}"]
        )
        findings = list(examine(recipe))
        refused = [each for each in findings if each.mark == "refusal" and each.about not in ("publishing", "memory")]
        for each in refused:
            print(f"{name}: {each.about}: {each.found}")
        figures.append(Figure(f"doctor, {name}: refusals", len(refused), "", at_most=0))
    return figures


def _installed(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def check_quickstart(context: Context) -> list[Figure]:
    """Train the quick start in float32 and in bfloat16, with validation and gradient checkpointing."""
    from escoita.recipe.schema import load_recipe
    from escoita.records.training import TrainingRecord
    from escoita.run_directory import RunDirectory
    from escoita.training.sft import train

    figures = []
    steps = 4 if context.toy else 60
    for dtype in ("float32", "bfloat16"):
        recipe = load_recipe(
            ROOT / "recipes/quickstart-uzbek.yaml",
            [
                f"base={QUICKSTART}",
                f"run_dir={context.folder / f'quickstart-{dtype}'}",
                f"training.max_steps={steps}",
                "training.eval_strategy=steps",
                f"training.eval_steps={steps // 2}",
                f"validation.clips={4 if context.toy else 40}",
                "validation.patience=null",
                f"training.save_steps={steps}",
                # A callback refuses a module whose gradient checkpointing differs after validation.
                "training.gradient_checkpointing=true",
                f"training.bf16={str(dtype == 'bfloat16').lower()}",
                *(["training.use_cpu=true"] if not context.on_gpu else []),
                *(["eval.max_new_tokens=8", "training.per_device_train_batch_size=4"] if context.toy else []),
                *[f"corpora.{split}=[{{name: c, path: {UZBEK / split}.jsonl}}]" for split in ("train", "validation")],
            ],
        )
        started = time.perf_counter()
        train(recipe, restart=True)
        run = RunDirectory(recipe.run_path)
        record = TrainingRecord.read(run.training)
        first, last = record.validation[0], record.validation[-1]
        loss = [first.loss, last.loss]
        name = f"quick start, {dtype}"
        figures += [
            Figure(f"{name}: time of {steps} steps with validation", time.perf_counter() - started, "s"),
            Figure(f"{name}: validation loss before", loss[0]),
            Figure(f"{name}: validation loss after", loss[1], "", at_most=loss[0]),
        ]
        if last.wer is not None and not context.toy:
            figures.append(Figure(f"{name}: validation WER after", last.wer, "", at_most=0.7))
        for tower, largest in largest_b(run.adapter).items():
            figures.append(Figure(f"{name}: largest weight of lora_B, {tower}", largest, "", at_least=1e-9))
    return figures


def largest_b(adapter: Path) -> dict[str, float]:
    """Return the smallest of the largest absolute weights of the matrices B, for each tower."""
    from safetensors.torch import load_file

    largest: dict[str, float] = {}
    for name, weight in load_file(adapter / "adapter_model.safetensors").items():
        if "lora_B" in name:
            tower = "audio" if "audio" in name else "language"
            largest[tower] = min(largest.get(tower, float("inf")), float(weight.abs().max()))
    return largest


def check_e4b(context: Context) -> list[Figure]:
    """Train steps on Gemma 4 E4B in its full size, in 4 bits: memory compared with the estimate, and step times."""
    import torch

    from escoita.recipe.schema import load_recipe
    from escoita.run_directory import RunDirectory
    from escoita.training.arguments import peft_config, sft_config
    from escoita.training.backends import untrained
    from escoita.training.data_collator import SpeechCollator
    from escoita.training.preflight.model import Longest, encode_longest, find_memory
    from escoita.training.progress import remove_printers
    from escoita.training.trainer import SpeechTrainer
    from escoita.utils.processes import peak_memory_bytes, reset_peak_memory

    folder = e4b(context)
    recipe = load_recipe(
        ROOT / "recipes/gemma4-uzbek.yaml",
        [
            f"base={folder}",
            "engine=transformers",
            f"run_dir={context.folder / 'e4b'}",
            "corpora.validation=[]",
            f"training.optim={'adamw_8bit' if context.on_gpu else 'adamw_torch'}",
            *(["training.bf16=false", "dtype=float32"] if not context.on_gpu else []),
            "training.max_steps=2",
            "training.eval_strategy=no",
            "training.save_strategy=no",
            "training.warmup_steps=0",
            "training.dataloader_num_workers=0",
            "training.logging_steps=1",
        ],
    )
    family, processor, model = random_model(context, folder, four_bit=True)
    clips, lengths = 2 if context.toy else 8, (1.0, 2.0) if context.toy else (5.0, 10.0, 15.0, 30.0)
    arguments = sft_config(recipe, RunDirectory(recipe.run_path))
    arguments.per_device_train_batch_size = clips
    trainer = SpeechTrainer(
        model=model,
        args=arguments,
        train_dataset=note_rows(context, clips, lengths[0]),
        data_collator=SpeechCollator(
            family, processor, family.resolved_settings(processor, recipe.generation_settings())
        ),
        processing_class=processor,
        peft_config=peft_config(recipe),
    )
    remove_printers(trainer)
    figures = []
    for seconds in lengths:
        trainer.train_dataset = note_rows(context, clips, seconds)
        longest = Longest(seconds, "bir ikki uch", True)
        batch = encode_longest(recipe, family, processor, longest, clips)
        estimate = find_memory(recipe, untrained(recipe), batch, longest)[1]
        reset_peak_memory()
        started, split = time.perf_counter(), trainer.throughput.split_batches
        trainer.train()
        step = (time.perf_counter() - started) / 2
        name = f"E4B, {clips} clips of {seconds:g} s"
        figures += [
            Figure(f"{name}: time of a step", step, "s"),
            Figure(f"{name}: estimate", estimate.total / 1e9, "GB"),
        ]
        split = trainer.throughput.split_batches - split
        figures.append(Figure(f"{name}: batches split", split))
        if context.on_gpu:
            # Part of the estimate is the context of CUDA, which torch does not count.
            measured, expected = peak_memory_bytes() / 1e9, (estimate.total - estimate.context) / 1e9
            limits = (None, None) if split else (0.75 * expected, 1.25 * expected)
            figures.append(Figure(f"{name}: peak memory", measured, "GB", *limits))
    if context.on_gpu:
        trainer.train_dataset = note_rows(context, clips, lengths[0])  # the profiler needs memory for each kernel
        figures.append(Figure("E4B: share of a step in synchronizations", synchronization_share(trainer)))
    del trainer, model
    if context.on_gpu:
        torch.cuda.empty_cache()
    return figures


def synchronization_share(trainer: Any) -> float:
    """Return the share of two steps in which the host waits for the GPU, from torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    started = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        trainer.train()
    total = time.perf_counter() - started
    waits = [each for each in profiler.key_averages() if "Synchronize" in each.key]
    return sum(each.cpu_time_total for each in waits) / 1e6 / total


def note_rows(context: Context, clips: int, seconds: float) -> Any:
    """Return rows of clips of notes, as a dataset."""
    import soundfile

    from escoita.training.datasets import clips_by_split, everything, table

    folder = context.folder / f"notes-{clips}-{seconds:g}"
    folder.mkdir(exist_ok=True)
    lines = []
    for index in range(2 * clips):
        soundfile.write(folder / f"{index}.wav", notes(seconds, index), 16_000)
        lines.append(json.dumps({"audio_filepath": f"{index}.wav", "text": "bir ikki uch", "id": str(index)}))
    (folder / "clips.jsonl").write_text("\n".join(lines), "utf-8")
    from escoita.recipe.schema import load_recipe

    recipe = load_recipe(
        ROOT / "recipes/quickstart-uzbek.yaml", [f"corpora.train=[{{name: notes, path: {folder / 'clips.jsonl'}}}]"]
    )
    return table(everything(clips_by_split(recipe, ["train"], 30.0, [])["train"]))


def check_four_bit(context: Context) -> list[Figure]:
    """Save a base in 4 bits, and load it with three spellings of its skip list."""
    import torch
    from bitsandbytes.nn import Linear4bit

    from escoita.models import family_of
    from escoita.records.training import Prompt

    stored, base = context.folder / "base-16", context.folder / "base-4"
    if context.toy:
        stored = QUICKSTART
    else:
        family, processor, model = random_model(context, wide(context))
        model.save_pretrained(stored)
        family.save_processor(processor, stored)
        del model
    family = family_of(str(stored))
    processor = family.load_processor(str(stored))
    dtype = "bfloat16" if context.on_gpu else "float32"
    model = family.load_model(str(stored), dtype=dtype, device=context.device, load_in_4bit=True)
    model.save_pretrained(base)
    family.save_processor(processor, base)
    inputs = family.encode(processor, [notes(1.0)], Prompt(user="Please transcribe this audio."))
    batch = {key: value.to(context.device) for key, value in inputs.items()}

    def logits(of: Any) -> Any:
        with torch.no_grad():
            return of(**{k: v.to(of.dtype) if v.is_floating_point() else v for k, v in batch.items()}).logits.float()

    def quantized(of: Any) -> int:
        return sum(isinstance(module, Linear4bit) for module in of.modules())

    expected, count = logits(model), quantized(model)
    spellings = {
        "as saved": None,
        "without a prefix": ["lm_head", "audio_tower", "embed_audio", "vision_tower", "embed_vision"],
        "with a prefix": ["lm_head", *(f"model.{name}" for name in ("audio_tower", "embed_audio", "vision_tower"))]
        + ["model.embed_vision"],
    }
    figures = [Figure("layers in 4 bits", count, "", at_least=1)]
    path = base / "config.json"
    original = json.loads(path.read_text("utf-8"))
    for name, skips in spellings.items():
        config = json.loads(json.dumps(original))
        if skips:
            config["quantization_config"]["llm_int8_skip_modules"] = skips
        path.write_text(json.dumps(config), "utf-8")
        again = family.load_model(str(base), dtype=dtype, device=context.device, load_in_4bit=True)
        figures.append(Figure(f"reloaded {name}: layers in 4 bits", quantized(again), "", count, count))
        difference = float((logits(again) - expected).abs().max())
        figures.append(Figure(f"reloaded {name}: largest difference of logits", difference, "", at_most=0.05))
    return figures


@contextmanager
def too_little_memory(context: Context, model: Any, peak: int):
    """
    Let memory run out for the whole batch.

    On a GPU, torch may use only a part of the memory that the batch needed. On a CPU, the forward pass raises the
    error for more than half of the rows.

    Args:
        context ([`Context`]): The context of the check.
        model (`torch.nn.Module`): The model.
        peak (`int`): The peak memory of the whole batch in bytes.
    """
    import torch

    if context.on_gpu:
        torch.cuda.empty_cache()
        used, total = torch.cuda.memory_allocated(), torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((used + 0.7 * (peak - used)) / total)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return

    def refuse(module: Any, args: Any, kwargs: Any) -> None:
        if len(kwargs["input_ids"]) > 4:
            raise torch.OutOfMemoryError("out of memory (simulated)")

    hook = model.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def check_out_of_memory(context: Context) -> list[Figure]:
    """Let memory run out in a training step: the batch is split, and the gradient is that of the whole batch."""
    import torch
    from peft import LoraConfig, get_peft_model

    from escoita.records.training import AdapterRecord, Prompt
    from escoita.training.oom import BatchSplitter
    from escoita.utils.processes import free_device_memory, peak_memory_bytes, reset_peak_memory

    family, processor, base = random_model(context, wide(context))
    adapter = LoraConfig(
        r=8, target_modules=family.info.target_modules, init_lora_weights=False, task_type="CAUSAL_LM"
    )
    model = (
        get_peft_model(base, adapter).to(context.device).float()
        if not context.on_gpu
        else get_peft_model(base, adapter)
    )
    seconds = 1.0 if context.toy else 20.0
    settings = AdapterRecord(language="uz", prompt=Prompt(user="Please transcribe this audio."))
    settings = family.resolved_settings(processor, settings)
    audio = [notes(seconds, each) for each in range(8)]
    made = family.encode_with_targets(processor, audio, ["bir ikki"] * 8, settings)
    batch = {key: value.to(context.device) for key, value in made.items()}
    labels = batch["labels"][:, 1:].ne(-100).sum()

    def work(part: dict[str, Any]) -> Any:
        with torch.autocast(context.device, torch.bfloat16, enabled=context.on_gpu):
            share = part["labels"][:, 1:].ne(-100).sum() / labels
            loss = model(**part).loss * share
        loss.backward()
        return loss.detach()

    def gradient() -> Any:
        return torch.cat([w.grad.flatten().float() for w in model.parameters() if w.grad is not None])

    reset_peak_memory()
    whole = work(batch)
    peak, expected = peak_memory_bytes(), gradient()
    model.zero_grad()
    free_device_memory()
    before = torch.cuda.memory_allocated() if context.on_gpu else 0
    splitter = BatchSplitter("training")
    with too_little_memory(context, model, peak):
        total = splitter.run(work, batch, model.zero_grad)
    found = gradient()
    model.zero_grad()
    free_device_memory()
    after = torch.cuda.memory_allocated() if context.on_gpu else 0
    similarity = float(torch.nn.functional.cosine_similarity(found, expected, dim=0))
    return [
        Figure("peak memory of the whole batch", peak / 1e9, "GB"),
        Figure("parts of the batch", len(splitter.parts(batch)), "", at_least=2),
        Figure("cosine of the gradients", similarity, "", at_least=0.99),
        Figure("difference of the losses", abs(float(total - whole)), "", at_most=0.05),
        Figure("memory kept afterwards", (after - before) / 1e9, "GB", at_most=0.05),
    ]
