"""How a base hears, in a few lines for each family, after the classes and configurations of Transformers."""

from escoita.recipe.recipe import Recipe


ARCHITECTURES = {
    "gemma4": (
        "A decoder-only language model that hears. Log-mel frames of 10 ms are thinned out fourfold by two "
        "convolutions; a Conformer (the audio tower), whose attention sees a short stretch at a time, makes one "
        "vector of every 40 ms; and a linear projection puts these vectors into the prompt, in the places of audio "
        "tokens. The language model reads them beside the words of the prompt, and writes the transcript token by "
        "token."
    ),
    "gemma3n": (
        "A decoder-only language model that hears. Log-mel frames of 10 ms pass two convolutions and a Conformer (the "
        "audio tower), which leave one vector of every 160 ms; a projection puts 188 of them, the length of 30 "
        "seconds, into the prompt of every clip. The language model reads them beside the words of the prompt, and "
        "writes the transcript token by token."
    ),
    "phi4_multimodal": (
        "A decoder-only language model that hears. Log-mel frames of 10 ms in 80 bands are thinned out eightfold by "
        "convolutions; a Conformer makes one vector of every 80 ms; and a projection of two layers puts these vectors "
        "into the prompt, in the place of its audio mark. The language model, with the LoRA for speech that belongs "
        "to the base, reads them beside the words of the prompt, and writes the transcript token by token."
    ),
    "qwen2_audio": (
        "A decoder-only language model that hears. An encoder of Whisper's kind takes 30 seconds of log-mel frames in "
        "128 bands, filled up with silence, and leaves one vector of every 40 ms of the clip; a linear projection "
        "puts them into the prompt, in the places of audio tokens. The language model reads them beside the words of "
        "the prompt, and writes the transcript token by token."
    ),
    "qwen3_asr": (
        "A decoder-only language model that hears. Log-mel frames in 128 bands are cut into pieces of a second, of "
        "each of which convolutions leave 13 vectors; a Transformer encoder attends over some seconds at a time; and "
        "a projection puts them into the prompt, in the places of audio tokens. The language model goes on from the "
        "name of the language, and writes the transcript token by token."
    ),
    "granite_speech": (
        "A decoder-only language model that hears. A Conformer takes pairs of log-mel frames, one vector of every 20 "
        "ms; a projection with queries of its own (Q-Former) makes three of every 15 of them, and these stand in the "
        "prompt in the places of audio tokens. The language model reads them beside the words of the prompt, and "
        "writes the transcript token by token."
    ),
    "voxtral": (
        "A decoder-only language model that hears. An encoder of Whisper's kind takes 30 seconds of log-mel frames in "
        "128 bands, filled up with silence; four of its vectors at a time become one of 80 ms, and a projection of "
        "two layers puts them into the prompt, in the places of audio tokens. The language model reads them, and "
        "writes the transcript token by token."
    ),
}


def architecture(recipe: Recipe, family: str) -> str:
    """
    How the base hears, as Markdown is made of it.

    Args:
        recipe ([`~escoita.recipe.recipe.Recipe`]): What its card says comes first.
        family (`str`): As the training record calls it.

    Returns:
        `str`: Plain text; empty where nobody knows.
    """
    return recipe.card.architecture or ARCHITECTURES.get(family, "")
