import torch
from peft import LoraConfig, get_peft_model

from escoita.training.backends import prepare_precision


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.encoder(features)))


def adapted(dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(0)
    settings = LoraConfig(target_modules="dummy-target-modules", modules_to_save=["encoder"])
    return get_peft_model(Small().to(dtype), settings)


def test_what_trains_is_float32_and_what_is_frozen_stays() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        model = adapted(dtype)
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        prepare_precision(model)
        for name, parameter in model.named_parameters():
            assert parameter.dtype == (torch.float32 if parameter.requires_grad else dtype)
            assert torch.equal(parameter.to(dtype), before[name])


def test_a_model_in_float32_is_left_alone() -> None:
    model = adapted(torch.float32)
    places = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    prepare_precision(model)
    assert {name: parameter.data_ptr() for name, parameter in model.named_parameters()} == places


def test_a_small_step_is_taken() -> None:
    """Of 1e-5, which is lost between two numbers of half precision."""
    model = adapted(torch.float16)
    prepare_precision(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [parameter.clone() for parameter in trained]
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(torch.ones(1, 4)).float().square().sum()
    loss.backward()
    torch.optim.SGD(trained, lr=1e-5).step()
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in trained)
    assert any(not torch.equal(parameter, old) for parameter, old in zip(trained, before, strict=True))
