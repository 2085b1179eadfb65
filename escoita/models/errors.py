"""Define the errors of models that callers and tests must tell apart."""

from escoita.errors import EscoitaError


class IncompatibleAdapterError(EscoitaError):
    """
    Report an adapter whose configuration or tensors do not fit a base model.

    Args:
        reason (`str`): The mismatch.
    """

    problem = "incompatible with this base model: {reason}"
    reason: str


class SpeechLoraError(EscoitaError):
    """Report a LoRA for speech of a base model that is missing, does not fit, or has no effect."""


class ChatTemplateError(EscoitaError):
    """Report a chat template that is missing, that fails, or that exceeds a limit."""


class PromptMismatchError(EscoitaError):
    """
    Report that a chat template now writes another prompt than the prompt that an adapter was trained with.

    Args:
        trained (`str`): The prompt of the training, shortened.
        written (`str`): The prompt that the template now writes, shortened.
    """

    problem = "was trained with the prompt {trained}, but its chat template now writes {written}"
    hint = "use the files that were saved with the adapter, and the version of escoita that trained it"
    trained: str
    written: str
