"""Test the comparison of the rendered prompt."""

from pathlib import Path

import pytest

from escoita.cards.verify.adapter import check_rendered_prompt
from escoita.records.training import AdapterRecord, Prompt
from escoita.run_directory import RunDirectory
from tests.cards.samples import training
from tests.conftest import ROOT
from tests.models.bases import chat_family_of
from tests.models.test_generic import CASES


@pytest.mark.parametrize("name", [*CASES, "gemma4", "phi4"])
@pytest.mark.parametrize("changed", [False, True])
def test_the_prompt_of_every_family_is_rendered_as_in_training_or_not_checked(
    tmp_path: Path, name: str, changed: bool
) -> None:
    base = tmp_path / "base" if name in CASES else ROOT / "quickstart" / name
    if name in CASES:
        CASES[name].write(base)
    family = chat_family_of(str(base))
    processor = family.load_processor(str(base))
    prompt = Prompt(system="", user=CASES[name].user if name in CASES else "Escoita.")
    published = tmp_path / "published"
    family.save_processor(processor, published)
    rendered = family.render(processor, prompt) + "!" * changed
    AdapterRecord(language="gl", prompt=prompt, rendered_prompt=rendered).write(published / "escoita.json")
    found = check_rendered_prompt(RunDirectory(published), training().model_copy(update={"family": family.info.name}))
    main_system = name in ("gemma4", "phi4", "voxtral")  # the other templates are written for the tests
    expected = ("differs" if changed else "holds") if main_system else "cannot be proven"
    assert found.verdict == expected, found
