"""Fine-tune a speech model with an adapter; [`train`] does all of it, and the steps can be called one by one."""

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from escoita.training.sft import train

__all__ = ["train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from escoita.training import sft

        return getattr(sft, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
