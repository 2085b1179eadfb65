"""What of a recipe says how the base is adapted: with low-rank matrices, or by training some modules whole."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


Expectation = Literal["none", "some"] | Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A part of a recipe; keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(Section):
    """What is trained, and how much of it there must be."""

    trainable: dict[str, Expectation] = Field(
        {"language": "some", "audio": "some"},
        description="Trained parameters of each tower: an exact count, 'some' or 'none'; checked before step 1",
    )


class Lora(Method):
    """Low-rank adapters (Hu et al. 2021) on the linear layers that a regular expression names."""

    kind: Literal["lora"] = "lora"
    r: int = Field(8, gt=0, description="Rank")
    lora_alpha: int = Field(16, gt=0, description="Scale: alpha / r")
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    bias: Literal["none", "all", "lora_only"] = "none"
    use_rslora: bool = False
    target_modules: str = Field(description="One regular expression that matches the whole name of a linear layer")

    @field_validator("target_modules")
    @classmethod
    def _compiles(cls, expression: str) -> str:
        try:
            re.compile(expression)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"no regular expression ({error})") from error
        return expression


class Modules(Method):
    """Some modules of the base, trained whole; everything else stays as it is."""

    kind: Literal["modules"]
    modules: list[str] = Field(min_length=1, description="What the names of the trained modules end with")
    trainable: dict[str, Expectation] = Field(
        {"audio": "some"},
        description="Trained parameters of each tower: an exact count, 'some' or 'none'; checked before step 1",
    )


METHODS: dict[str, type[Method]] = {"lora": Lora, "modules": Modules}


def kind_of(method: Any) -> Any:
    """Which method a mapping of a recipe, or a section, is; LoRA unless it says so."""
    return method.get("kind", "lora") if isinstance(method, dict) else getattr(method, "kind", None)
