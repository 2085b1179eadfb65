"""Test that the least recently used adapters are removed from memory above a budget, and loaded again when needed."""

from pathlib import Path

import pytest
import torch

from escoita.models import family_of
from escoita.models.adapters import Adapters
from escoita.records.training import AdapterRecord, Prompt
from tests.adapter_samples import GEMMA4_LORA, PHI4_MODULES, write_adapter
from tests.samples import tone


RECORD = AdapterRecord(language="gl", prompt=Prompt(user="<|audio_1|>Listen."))


@pytest.mark.slow
@pytest.mark.parametrize(("base", "settings"), [("quickstart/gemma4", GEMMA4_LORA), ("quickstart/phi4", PHI4_MODULES)])
def test_the_least_recently_used_adapter_is_removed(base: str, settings: dict, tmp_path: Path) -> None:
    sources = {name: write_adapter(base, tmp_path / name, RECORD, seed, **settings) for seed, name in enumerate("abc")}
    family = family_of(base)
    model = family.load_model(base, dtype="float32").eval()
    inputs = family.encode(family.load_processor(base), [tone()], RECORD.prompt)

    def logits(adapters: Adapters, name: str | None) -> torch.Tensor:
        adapters.use(name)
        with torch.inference_mode():
            return adapters.model(**inputs).logits

    unlimited = Adapters(model, sources)
    expected = {name: logits(unlimited, name) for name in (*sources, None)}
    unlimited.use(None)
    size = unlimited.loaded["a"]
    stored = (tmp_path / "a/adapter_model.safetensors").stat().st_size
    assert stored * 0.9 < size < stored * 1.1  # the base's own weights are not counted
    assert set(unlimited.loaded) == set("abc")

    adapters = Adapters(model, sources, max_bytes=2 * size)
    for name, left in (("a", "a"), ("b", "ab"), ("a", "ba"), (None, "ba"), ("c", "ac"), ("b", "cb"), ("a", "ba")):
        assert torch.equal(logits(adapters, name), expected[name])
        assert "".join(adapters.loaded) == left
        assert set(adapters._modules) == set(left)
    adapters.max_bytes = 1  # too little for any
    for name in ("b", "c", "c", None):
        assert torch.equal(logits(adapters, name), expected[name])
        assert len(adapters.loaded) == 1
