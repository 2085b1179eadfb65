"""In which precision is trained."""

import torch


def prepare_precision(model: torch.nn.Module) -> None:
    """
    Makes what is trained float32, once the adapter is on and before there is an optimizer; what is frozen stays.

    A step of half precision is too coarse for small learning rates, and the gradient scaler of fp16 refuses gradients
    in fp16 ("Attempting to unscale FP16 gradients"). PEFT does so for low-rank matrices, but not for modules that are
    trained whole.

    Args:
        model (`torch.nn.Module`): Changed in place.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
            parameter.data = parameter.data.float()
