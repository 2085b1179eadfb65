import pytest

from escoita.models.gemma4 import Gemma4Family


@pytest.mark.parametrize(
    "parameter, tower",
    [
        (
            "base_model.model.model.audio_tower.layers.0.feed_forward1.ffw_layer_1.linear.lora_A.default.weight",
            "audio",
        ),
        ("base_model.model.model.embed_audio.embedding_projection.lora_B.default.weight", "audio"),
        ("model.vision_tower.encoder.layers.0.mlp.down_proj.linear.weight", "vision"),
        ("model.embed_vision.embedding_projection.weight", "vision"),
        ("base_model.model.model.language_model.layers.3.self_attn.q_proj.lora_A.default.weight", "language"),
        ("lm_head.weight", "language"),
    ],
)
def test_every_parameter_belongs_to_a_tower(parameter: str, tower: str) -> None:
    assert Gemma4Family().tower_of(parameter) == tower
