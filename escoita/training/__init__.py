"""Fine-tune a speech model with an adapter: [`train`] runs the whole training, and `sft` holds its steps."""

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from escoita.training.sft import train

__all__ = ["train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from escoita.training import sft

        return getattr(sft, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
