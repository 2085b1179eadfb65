"""Test the training of CTC models on tiny bases with random weights."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCTC

from escoita.errors import EscoitaError
from escoita.models import family_of
from escoita.models.adapters import Adapters
from escoita.models.ctc_training import TrainableCtcFamily, fit_head
from escoita.models.families import base_license
from escoita.models.loading import load
from escoita.models.trainable import IGNORED
from escoita.records.training import AdapterRecord, Prompt
from escoita.training.sanity_checks import check_batch
from tests.models.ctc_bases import BASES, write_wav2vec2


SETTINGS = AdapterRecord(language="gl", prompt=Prompt(user=""))
TEXTS = ["un dous", "tres"]
CLIPS = [np.random.default_rng(0).normal(0, 0.1, size).astype(np.float32) for size in (24_000, 11_200)]


class Loaded:
    """Load a base with the vocabulary of two transcripts."""

    def __init__(self, base: str):
        family = family_of(base)
        assert isinstance(family, TrainableCtcFamily)
        self.family, self.base = family, base
        self.processor, self.model = family.load_processor(base), family.load_model(base)
        family.learn_vocabulary(self.processor, TEXTS)
        family.prepare_for_training(self.model, self.processor)

    def batch(self, clips: list[np.ndarray], texts: list[str]) -> dict[str, torch.Tensor]:
        return self.family.encode_with_targets(self.processor, clips, texts, SETTINGS)

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.family.summed_loss(self.model, self.model.config, batch)


@pytest.fixture(scope="module", params=BASES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(BASES[request.param](tmp_path_factory.mktemp("base")))


def test_targets_are_characters_and_padding_has_no_loss(loaded: Loaded) -> None:
    batch = loaded.batch(CLIPS, TEXTS)
    known = loaded.processor.tokenizer.get_vocab()
    assert batch["labels"][0].tolist() == [known[each] for each in "un|dous"]
    assert batch["labels"][1].tolist() == [known[each] for each in "tres"] + [IGNORED] * 3
    check_batch(loaded.family, loaded.processor, batch, TEXTS)
    assert loaded.family.targets(loaded.processor, ["ñ"]) == [[known["<unk>"]]]


def test_the_loss_of_a_batch_is_the_sum_of_the_losses_of_its_clips(loaded: Loaded) -> None:
    loaded.model.eval()
    with torch.no_grad():
        together = loaded.loss(loaded.batch(CLIPS, TEXTS))
        alone = [loaded.loss(loaded.batch([clip], [text])) for clip, text in zip(CLIPS, TEXTS, strict=True)]
    assert together.item() == pytest.approx(sum(each.item() for each in alone), rel=1e-3)


def test_frames_are_those_of_the_model_and_repeated_characters_need_another(loaded: Loaded) -> None:
    batch = loaded.batch([CLIPS[0]], ["un"])
    with torch.no_grad():
        frames = loaded.model.eval()(**{key: each for key, each in batch.items() if key != "labels"}).logits.shape[1]
    assert loaded.family.frames(loaded.processor, 1.5) == frames
    problem = loaded.family.row_problem
    assert problem(loaded.processor, "u" + "nu" * ((frames - 1) // 2), 1.5) == ""
    assert str(frames) in problem(loaded.processor, "u" * (frames // 2 + 2), 1.5)
    assert problem(loaded.processor, "", 1.5) != "" and loaded.family.frames(loaded.processor, 0.001) == 0


def test_a_batch_shorter_than_a_mask_can_be_trained(loaded: Loaded) -> None:
    loaded.model.train()
    config = loaded.model.config
    loss = loaded.loss(loaded.batch([CLIPS[1][:2_400]], ["un"]))
    assert loss.isfinite() and config.apply_spec_augment and config.mask_time_min_masks == 0


def test_a_target_that_is_too_long_gives_no_infinite_loss(loaded: Loaded) -> None:
    assert loaded.loss(loaded.batch([CLIPS[1][:2_400]], ["un dous" * 20])).isfinite()


def test_the_feature_encoder_is_frozen_and_a_saved_processor_gives_the_same_batch(
    loaded: Loaded, tmp_path: Path
) -> None:
    encoder = [each for name, each in loaded.model.named_parameters() if ".feature_extractor." in name]
    assert not any(each.requires_grad for each in encoder)
    loaded.family.save_processor(loaded.processor, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(loaded.family.config), "utf-8")
    again = family_of(str(tmp_path)).load_processor(str(tmp_path))
    before, after = (
        loaded.family.encode_with_targets(each, CLIPS, TEXTS, SETTINGS) for each in (loaded.processor, again)
    )
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("norm, masked", [("layer", True), ("group", False)])
def test_padding_is_masked_if_the_extractor_returns_a_mask(tmp_path: Path, norm: str, masked: bool) -> None:
    found = Loaded(write_wav2vec2(tmp_path, norm))
    assert ("attention_mask" in found.batch(CLIPS, TEXTS)) == masked


@pytest.mark.parametrize(
    "settings, key",
    [
        ({"prompt": Prompt(user="Transcribe.")}, "prompt.user"),
        ({"load_in_4bit": True}, "load_in_4bit"),
        ({"language_token": "gl"}, "method.language_token"),
        ({"target_lang": "glg"}, "method.target_lang"),
    ],
)
def test_settings_without_effect_are_refused(tmp_path: Path, settings: dict[str, Any], key: str) -> None:
    family = family_of(write_wav2vec2(tmp_path))
    with pytest.raises(EscoitaError) as error:
        family.resolved_settings(family.load_processor(str(tmp_path)), SETTINGS.model_copy(update=settings))
    assert error.value.key == key


@pytest.mark.parametrize(
    "language, given, expected",
    [("gl", None, "glg"), ("uz", None, "uzb-script_latin"), ("eu", None, "none"), ("eu", "glg", "glg")],
)
def test_training_of_mms_begins_with_a_language_adapter(
    tmp_path: Path, language: str, given: str | None, expected: str
) -> None:
    base = BASES["mms"](tmp_path)
    family = family_of(base)
    processor = family.load_processor(base)
    asked = SETTINGS.model_copy(update={"language": language, "target_lang": given})
    settings = family.resolved_settings(processor, asked)
    assert settings.target_lang == expected
    model = family.load_model(base)
    before = model._get_adapters()["wav2vec2.encoder.layers.0.adapter_layer.linear_1.weight"].clone()
    family.load_initial_weights(model, settings)
    assert model.target_lang == (None if expected == "none" else expected)
    assert before.shape == model.wav2vec2.encoder.layers[0].adapter_layer.linear_1.weight.shape
    with pytest.raises(EscoitaError) as error:
        family.resolved_settings(processor, asked.model_copy(update={"target_lang": "xxx"}))
    assert error.value.key == "method.target_lang"


def test_a_missing_head_is_expected_and_not_reported(tmp_path: Path) -> None:
    base, logger, reports = write_wav2vec2(tmp_path), logging.getLogger("transformers.modeling_utils"), list[str]()
    handler = logging.Handler()
    handler.emit = lambda record: reports.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        family_of(base).load_model(base)
        assert not reports
        load(AutoModelForCTC, base, vocab_size=3)
        assert len(reports) == 1 and "lm_head" in reports[0]
        with pytest.raises(EscoitaError):  # the reason is in the table
            load(AutoModelForCTC, base, fresh=("lm_head.",), vocab_size=3, hidden_size=32)
        assert len(reports) == 2
    finally:
        logger.removeHandler(handler)


def test_a_head_of_another_size_replaces_that_of_the_base_and_is_removed_again(tmp_path: Path) -> None:
    base = write_wav2vec2(tmp_path)
    model = family_of(base).load_model(base)
    head = model.lm_head
    fit_head(model, (7, head.in_features + 1))
    assert model.lm_head is head
    adapters = Adapters(model, {})
    fit_head(model, (7, head.in_features))
    assert model.lm_head.out_features == 7 and adapters.used is None


def test_licenses_of_bases() -> None:
    assert base_license("facebook/mms-300m", "wav2vec2") == base_license("base", "mms") == "cc-by-nc-4.0"
    assert base_license("facebook/w2v-bert-2.0", "wav2vec2-bert") == "mit"
    assert base_license("ana/other", "wav2vec2") == ""
