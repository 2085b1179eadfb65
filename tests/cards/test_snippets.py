"""Run the code snippets of a card, and compare the output with escoita's."""

import ast
import contextlib
import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import torch
from markdown_it import MarkdownIt
from peft import LoraConfig, get_peft_model

from escoita.audio.loading import read_audio
from escoita.cards.build import build_card
from escoita.cards.metadata import metadata
from escoita.cards.snippets import released_code, snippets
from escoita.inference.transcriber import Transcriber
from escoita.models import family_of
from escoita.models.phi4 import Phi4Family
from escoita.recipe.schema import load_recipe
from escoita.records.training import AdapterRecord, Prompt
from escoita.training.arguments import adapter_config, peft_config
from escoita.training.callbacks import save_weights
from tests.adapter_samples import write_adapter
from tests.cards.samples import recipe, training, write_run
from tests.conftest import ROOT
from tests.models.ctc_bases import BASES
from tests.models.phi4_samples import write_phi4
from tests.models.samples import write_whisper
from tests.samples import melody, write_clip


FAMILY = Phi4Family()
MODULES = [f"audio_embed.{name}" for name in ("encoder", "up_proj_for_speech", "down_proj_for_speech")]
# The first prompt gives the position of the clip, the second one does not.
PROMPTS = [Prompt(user="<|audio_1|> Transcribe the clip."), Prompt(system="You transcribe.", user="Escoita.")]


def chosen(base: str = "user/base", prompt: Prompt = PROMPTS[0], **changes: Any) -> Any:
    chosen = recipe(prompt=prompt.model_dump(), eval={"max_new_tokens": 8})
    document = chosen.model_dump() | {
        "base": base,
        "dtype": "float32",
        "method": {"kind": "modules", "modules": MODULES},
    }
    return type(chosen).model_validate(document | changes)


def snippet_of(tmp_path: Path, chosen: Any, base: str, adapter: str, family: str = "phi4_multimodal") -> str:
    """Return the snippet without escoita."""
    card = build_card(write_run(tmp_path / "run", chosen, training(family=family)), chosen, base, adapter)
    blocks = [token.content for token in MarkdownIt("commonmark").parse(card) if token.type == "fence"]
    return next(block for block in blocks if "PeftModel" in block)


def run(code: str, clip: Path) -> tuple[str, dict[str, Any]]:
    """Run a snippet; return its output for a clip, and its variables."""
    shown, names = io.StringIO(), dict[str, Any]()
    with contextlib.redirect_stdout(shown), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code.replace("clip.wav", str(clip)), "snippet", "exec"), names)  # noqa: S102
    return shown.getvalue().strip(), names


def stereo_48_khz(path: Path, samples: np.ndarray) -> Path:
    """Write a file with two different channels and 48 kHz, like a recorder."""
    high = soxr.resample(samples, 16_000, 48_000)
    return write_clip(path, np.stack([high, 0.5 * high], axis=1), 48_000)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(write_phi4(tmp_path_factory.mktemp("phi4") / "base"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phi4") / "adapter"
    torch.manual_seed(0)
    model = get_peft_model(FAMILY.load_model(str(base)), peft_config(chosen()))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    save_weights(model, folder)
    FAMILY.save_processor(FAMILY.load_processor(str(base)), folder)
    return folder


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("speech_lora", ["separate", "merged"])
def test_the_snippet_of_phi4_equals_escoita(
    base: Path, adapter: Path, tmp_path: Path, prompt: Prompt, speech_lora: str
) -> None:
    if speech_lora == "merged":
        FAMILY.load_model(str(base)).save_pretrained(tmp_path / "base")
        FAMILY.save_processor(FAMILY.load_processor(str(base)), tmp_path / "base")
        base = tmp_path / "base"
    code = snippet_of(tmp_path, chosen(str(base), prompt), str(base), str(adapter))
    clip = stereo_48_khz(tmp_path / "clip.wav", melody(1.3))
    text, names = run(code, clip)
    assert "escoita" not in re.sub(r'".*?"', "", code)

    generation_settings = AdapterRecord(language="gl", prompt=prompt, max_new_tokens=8)
    ours = Transcriber.load(str(base), str(adapter), generation_settings)
    assert text == ours.transcribe_file(clip).text != ""
    inputs = FAMILY.encode(ours.processor, [names["audio"]], prompt)
    assert torch.equal(names["inputs"]["input_ids"], inputs["input_ids"])
    with torch.no_grad():
        assert torch.equal(names["model"].eval()(**names["inputs"]).logits, ours.model(**inputs).logits)


def test_a_pinned_base_is_pinned_in_every_call(tmp_path: Path) -> None:
    code = snippet_of(tmp_path, chosen(base_revision="refs/pr/70"), "user/base", "user/adapter")
    assert 'revision = "refs/pr/70"' in code and code.count("revision=revision") == 2
    ast.parse(code)


def test_the_snippet_of_qwen2_audio_equals_escoita(tmp_path: Path) -> None:
    from tests.models.bases import write_qwen2_audio

    base, folder = tmp_path / "base", tmp_path / "adapter"
    write_qwen2_audio(base)
    settings = LoraConfig(r=2, target_modules=r".*\.q_proj", task_type="CAUSAL_LM", init_lora_weights=False)
    family = family_of(str(base))
    save_weights(get_peft_model(family.load_model(str(base)), settings), folder)
    family.save_processor(family.load_processor(str(base)), folder)
    prompt = Prompt(system="You transcribe.", user="Escoita.")
    chosen = recipe(prompt=prompt.model_dump(), eval={"max_new_tokens": 8})
    code = snippet_of(tmp_path, chosen, str(base), str(folder), "qwen2_audio")
    clip = stereo_48_khz(tmp_path / "clip.wav", melody(1.3))
    generation_settings = AdapterRecord(language="gl", prompt=prompt, max_new_tokens=8)
    assert (
        run(code, clip)[0]
        == Transcriber.load(str(base), str(folder), generation_settings).transcribe_file(clip).text
        != ""
    )


@pytest.mark.parametrize("token", ["gl", "none"])
def test_the_snippet_of_whisper_equals_escoita(tmp_path: Path, token: str) -> None:
    base, folder = write_whisper(tmp_path / "base"), tmp_path / "adapter"
    settings = AdapterRecord(language="gl", prompt=Prompt(user=""), max_new_tokens=8, language_token=token)
    write_adapter(base, folder, settings, target_modules=r".*(q|v)_proj")
    family = family_of(base)
    family.save_processor(family.load_processor(base), folder)
    chosen = recipe(prompt={"user": ""}, eval={"max_new_tokens": 8})
    code = snippets(chosen, training(family="whisper", language_token=token), base, str(folder))[-1].code
    clip = stereo_48_khz(tmp_path / "clip.wav", melody(1.3))
    text, names = run(code, clip)
    assert "escoita" not in re.sub(r'".*?"', "", code)
    ours = Transcriber.load(base, str(folder))
    assert text == ours.transcribe_file(clip).text != ""
    inputs = family.encode(ours.processor, [names["audio"]], settings.prompt)
    assert torch.equal(names["features"]["input_features"], inputs["input_features"])
    long = stereo_48_khz(tmp_path / "long.wav", melody(31))
    with pytest.raises(AssertionError, match="30 seconds"):  # the extractor would silently truncate it
        run(code, long)


@pytest.mark.parametrize("name", BASES)
def test_the_snippet_of_ctc_models_equals_escoita(tmp_path: Path, name: str) -> None:
    (tmp_path / "base").mkdir()
    base, folder = BASES[name](tmp_path / "base"), tmp_path / "adapter"
    family = family_of(base)
    processor, model = family.load_processor(base), family.load_model(base)
    family.learn_vocabulary(processor, ["un dous", "tres ñ"])
    family.prepare_for_training(model, processor)
    chosen = recipe(prompt={"user": ""}, method={"r": 2, "target_modules": family.info.target_modules})
    model = get_peft_model(model, adapter_config(chosen, family))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    save_weights(model, folder)
    family.save_processor(processor, folder)
    AdapterRecord(language="gl", prompt=Prompt(user="")).write(folder / "escoita.json")
    code = snippets(chosen, training(family=name), base, str(folder))[-1].code
    clip = stereo_48_khz(tmp_path / "clip.wav", melody(1.3))
    text, names = run(code, clip)
    assert "escoita" not in re.sub(r'".*?"', "", code)
    (ours,) = Transcriber.load(base, str(folder)).transcribe([names["audio"]])
    assert text == ours.text != ""


def test_the_snippet_of_gemma4_equals_escoita(tmp_path: Path) -> None:
    base, folder = ROOT / "quickstart/gemma4", tmp_path / "adapter"
    chosen = load_recipe(ROOT / "recipes/quickstart-uzbek.yaml")
    family = family_of(str(base))
    torch.manual_seed(0)
    model = get_peft_model(family.load_model(str(base)), peft_config(chosen))
    save_weights(model, folder)
    family.save_processor(family.load_processor(str(base)), folder)
    code = snippet_of(tmp_path, chosen, str(base), str(folder), "gemma4")
    speech = read_audio(ROOT / "quickstart/corpus/uz/test/0014.ogg")
    clip = stereo_48_khz(tmp_path / "clip.wav", speech)
    generation_settings = AdapterRecord(language="uz", prompt=chosen.prompt, max_new_tokens=chosen.eval.max_new_tokens)
    ours = Transcriber.load(str(base), str(folder), generation_settings)
    text, names = run(code, clip)
    assert text == ours.transcribe_file(clip).text != ""
    assert np.abs(names["audio"] - read_audio(clip)).max() < 1e-3

    long = stereo_48_khz(tmp_path / "long.wav", np.tile(speech, 31 * 16_000 // len(speech) + 1))
    with pytest.raises(AssertionError, match="30 seconds"):  # the extractor would silently truncate it
        run(code, long)


def test_the_snippet_with_escoita(tmp_path: Path) -> None:
    base = ROOT / "quickstart/gemma4"
    chosen = load_recipe(ROOT / "recipes/quickstart-uzbek.yaml")
    family, folder = family_of(str(base)), tmp_path / "adapter"
    save_weights(get_peft_model(family.load_model(str(base)), peft_config(chosen)), folder)
    settings = AdapterRecord(language="uz", prompt=chosen.prompt, max_new_tokens=chosen.eval.max_new_tokens)
    settings.write(folder / "escoita.json")
    clip = stereo_48_khz(tmp_path / "clip.wav", read_audio(ROOT / "quickstart/corpus/uz/test/0014.ogg"))
    code = snippets(chosen, training(family="gemma4"), str(base), str(folder))[0].code
    assert run(code, clip)[0] == Transcriber.load(str(base), str(folder)).transcribe_file(clip).text != ""


def test_snippets_of_released_versions_are_kept() -> None:
    """The snippet for Unsloth extends that of Gemma 4 of the same version."""
    chosen = recipe(prompt={"user": "Please transcribe."})
    old = released_code(chosen, training(engine="unsloth", family="gemma4"), "user/base", "user/adapter")
    made = snippets(chosen, training(engine="unsloth", family="gemma4"), "user/base", "user/adapter")
    changed = {code for code in old if "soundfile" in code}
    assert len(changed) == 2 and all("soxr" not in code for code in changed)
    assert not changed & {snippet.code for snippet in made} and made[0].code in old


def test_a_family_without_a_plain_snippet_shows_only_that_with_escoita(tmp_path: Path) -> None:
    held = write_run(tmp_path / "run", recipe(), training(family="voxtral"))
    card = build_card(held, recipe(), "user/base", "user/adapter")
    assert "Transcriber.load" in card and "PeftModel" not in card and "With Transformers" not in card


def test_only_lora_adapters_have_the_lora_tag() -> None:
    assert metadata(chosen(), None, "user/base").tags == ["speech"]
    assert metadata(recipe(), None, "user/base").tags == ["speech", "lora"]


def test_an_adapter_trained_with_unsloth_has_its_snippet(tmp_path: Path) -> None:
    chosen = recipe(prompt={"system": "You transcribe.", "user": "Escoita."})
    chosen = chosen.model_copy(update={"load_in_4bit": True, "base_revision": "v1"})
    made = snippets(chosen, training(engine="unsloth"), "user/base", "user/adapter")
    assert [snippet.title.split(",")[0].split(" (")[0] for snippet in made] == [
        "With escoita",
        "With Unsloth",
        "With Transformers and PEFT",
    ]
    code = made[1].code
    ast.parse(code)
    assert code.startswith("from unsloth import")
    # Unsloth ignores the revision of the base of an adapter.
    call = 'base, revision="v1", max_seq_length=8192, load_in_4bit=True, use_exact_model_name=True'
    assert call in code and "PeftModel.from_pretrained(model, adapter)" in code
    assert code.split("features = ")[1] == made[2].code.split("features = ")[1]  # the rest is equal
    assert len(snippets(chosen, training(family="phi4_multimodal"), "user/base", "user/adapter")) == 2


def test_snippets_contain_no_html_comments(tmp_path: Path) -> None:
    chosen = recipe(prompt={"user": "<!-- escoita:end usage -->"})
    for snippet in snippets(chosen, training(), "user/base", "<!-- x"):
        assert "<!--" not in snippet.code
        texts = [node.value for node in ast.walk(ast.parse(snippet.code)) if isinstance(node, ast.Constant)]
        assert "<!-- x" in texts
