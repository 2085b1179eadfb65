"""
Define the data of each model family that can be trained: names, card texts, LoRA targets, precision and engines; and
the classes of baselines.

Cards, preflight checks and the documentation read it without importing torch or transformers. The code of a family is
in the class that `implementation` names.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


# The language towers of all chat models have these names.
LANGUAGE_LAYERS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
WHISPER_LAYERS = r".*audio_tower.*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)|.*multi_modal_projector\.linear.*"
# The head of all CTC models, and the layers of MMS that differ between languages.
HEAD, LANGUAGE_ADAPTER = "lm_head", "adapter_layer"
WAV2VEC2_LAYERS = r".*\.encoder\.layers\.\d+\.(attention\.(q|k|v|out)_proj|feed_forward\.(intermediate|output)_dense)"
RANDOM_WEIGHTS = "random weights"
# What the attribute `experimental` means, for cards and the preflight check.
EXPERIMENTAL = (
    "Support for {title} in escoita is experimental: it was tested on small bases with the same architecture, and not "
    "on published weights."
)
ANY_TEXT = "any text"


@dataclass(frozen=True, kw_only=True)
class FamilyInfo:
    """
    Store the data of one model family.

    Args:
        title (`str`): The display name.
        model_types (`tuple[str, ...]`): The values of `model_type` in the configurations of its bases; the first is
            the name of the family in records.
        implementation (`str`): The module in `escoita.models` and the class in it, as `module:Class`.
        bases (`tuple[str, ...]`): The repositories on the Hub.
        license (`str`): The license of these bases on the Hub; empty if not recorded here.
        longest_clip (`str`): The longest clip of these bases and the origin of the limit, as Markdown.
        limit (`str`): The settings that determine the longest clip of a base, as Markdown.
        system_prompt (`str`): The possible values of `prompt.system`, as Markdown.
        user_prompt (`str`): The possible values of `prompt.user`, as Markdown.
        user_prompt_begins_answer (`bool`): Whether the user prompt is the beginning of the assistant's turn.
        language_layers (`str`): The regular expression for the layers of the language tower that LoRA trains; empty
            if the family has no language tower.
        audio_layers (`str`): The regular expression for the layers of the audio tower that LoRA trains; empty if the
            family is trained by `modules`.
        modules (`tuple[str, ...]`): The modules that are fully trained, instead of LoRA.
        learning_rate (`float`): The learning rate of a recipe that sets none.
        trains_in_fp16 (`bool`): Whether training in fp16 gives finite gradients.
        gradient_checkpointing (`bool`): Whether its class has gradient checkpointing.
        unsloth (`bool`): Whether training with Unsloth was tested.
        torchvision_until (`tuple[str, str]`, *optional*): The last version of transformers whose processor needs
            torchvision, and the first version known not to need it.
        tried (`str`): The tests and trainings of the family, as Markdown.
        experimental (`bool`): Whether no test or training of this project has used published weights of the family.
        architecture (`str`): The description of the architecture for the card.
        citation (`dict[str, str]`, *optional*): The fields of the BibTeX entry of the paper, in TeX.
        saved_modules (`tuple[str, ...]`): The modules that every adapter trains and saves whole; see
            [`~FamilyInfo.whole_modules`].
        towers (`tuple[str, ...]`): The parts of its models whose trained parameters a recipe states.
        noun (`str`): The description of a model of the family, with an article.
        snippet (`str`): The template name of the code snippet for Transformers and PEFT, in
            `cards/templates/snippets`; the name for Unsloth begins with `unsloth_`. Empty if there is none.
    """

    title: str
    model_types: tuple[str, ...]
    implementation: str
    bases: tuple[str, ...]
    license: str = ""
    longest_clip: str
    limit: str
    system_prompt: str = ANY_TEXT
    user_prompt: str = ANY_TEXT
    user_prompt_begins_answer: bool = False
    language_layers: str = LANGUAGE_LAYERS
    audio_layers: str = ""
    modules: tuple[str, ...] = ()
    learning_rate: float = 1e-4
    trains_in_fp16: bool = True
    gradient_checkpointing: bool = True
    unsloth: bool = False
    torchvision_until: tuple[str, str] | None = None
    tried: str = RANDOM_WEIGHTS
    experimental: bool = True
    saved_modules: tuple[str, ...] = ()
    towers: tuple[str, ...] = ("language", "audio")
    noun: str = "an audio language model"
    architecture: str
    citation: dict[str, str] | None = None
    snippet: str = ""

    def whole_modules(self, modules: Iterable[str] = ()) -> list[str]:
        """
        Return the modules that an adapter trains and saves whole, in addition to those that the method names.

        Args:
            modules (`Iterable[str]`, *optional*): The modules that the method names. The adapters of languages are
                left out if a module contains them.
        """
        contained = any(re.search(r"(^|\.)(wav2vec2|encoder|layers|adapter_layer)$", name) for name in modules)
        return [name for name in self.saved_modules if not (contained and name == LANGUAGE_ADAPTER)]

    @property
    def name(self) -> str:
        """Return the name of the family in records."""
        return self.model_types[0]

    @property
    def target_modules(self) -> str:
        """Return the regular expression for the layers of both towers that LoRA trains; empty without LoRA."""
        return "|".join(filter(None, (self.language_layers, self.audio_layers))) if self.audio_layers else ""


_CTC = (
    "A Transformer attends to all of them, and a linear layer outputs the probability of each character, or of none, "
    "for each vector. The transcript is the most probable character of each vector, without repetitions."
)
_CTC_FAMILY: dict[str, Any] = {
    "longest_clip": "30 s, ours",
    "limit": "30 s: neither configuration nor processor states one",
    "system_prompt": "none",
    "user_prompt": "none; see [below](#ctc-models)",
    "language_layers": "",
    "saved_modules": (HEAD,),
    "towers": ("head", "audio"),
    "noun": "a CTC model",
    "snippet": "ctc",
    "learning_rate": 1e-3,  # as recipes/mms-1b-galician.yaml: few trained parameters, and a new head
}
# The order is that of messages and of the documentation.
FAMILIES = (
    FamilyInfo(
        title="Gemma 4",
        model_types=("gemma4",),
        implementation="gemma4:Gemma4Family",
        bases=("unsloth/gemma-4-E4B-it",),
        license="apache-2.0",
        longest_clip="30 s, the model's limit",
        limit=(
            "what the extractor cuts at, or `audio_seq_length` × `audio_ms_per_token` of the processor, if that is"
            " less"
        ),
        audio_layers=(
            r".*audio_tower.*\.(post|linear_start|linear_end|ffw_layer_1|ffw_layer_2)\.linear"
            r"|.*audio_tower\.output_proj|.*embed_audio\.embedding_projection"
        ),
        trains_in_fp16=False,  # a constant in its audio tower exceeds the range of fp16: gradients are not finite
        unsloth=True,
        torchvision_until=("5.17.0", "5.23.0"),
        tried="trained to a WER of 0.044: the quick start",
        architecture=(
            "A decoder-only audio language model. Two convolutions downsample log-mel frames of 10 ms by a factor of "
            "four. A Conformer with local attention (the audio tower) outputs one vector per 40 ms. A linear "
            "projection maps these vectors to the embeddings of the audio tokens in the prompt. The language model "
            "reads them together with the text of the prompt and generates the transcript token by token."
        ),
        snippet="gemma4",
    ),
    FamilyInfo(
        title="Gemma 4 12B",
        model_types=("gemma4_unified",),
        implementation="gemma4_unified:Gemma4UnifiedFamily",
        bases=("google/gemma-4-12B-it",),
        license="apache-2.0",
        longest_clip="30 s, the model's limit",
        limit="`audio_seq_length` × `audio_ms_per_token` of the processor",
        audio_layers=r".*embed_audio\.embedding_projection",
        trains_in_fp16=False,  # not tried on real weights; those of other Gemma models exceed the range of fp16
        torchvision_until=("5.17.0", "5.23.0"),
        architecture=(
            "A decoder-only audio language model without an audio encoder. A linear projection maps frames of 40 ms "
            "of samples to the embeddings of the audio tokens in the prompt. The language model reads them together "
            "with the text of the prompt and generates the transcript token by token."
        ),
    ),
    FamilyInfo(
        title="Gemma 3n",
        model_types=("gemma3n",),
        implementation="gemma3n:Gemma3nFamily",
        bases=("google/gemma-3n-E2B-it", "google/gemma-3n-E4B-it"),
        license="gemma",  # Gemma 4 is under Apache-2.0
        longest_clip="30 s, the model's limit",
        limit="what the extractor cuts at, or what `audio_soft_tokens_per_image` tokens stand for, if that is less",
        audio_layers=(
            r".*audio_tower.*\.(post|linear_start|linear_end|ffw_layer_1|ffw_layer_2)"
            r"|.*embed_audio\.embedding_projection"
        ),
        architecture=(
            "A decoder-only audio language model. Two convolutions and a Conformer (the audio tower) encode log-mel "
            "frames of 10 ms as one vector per 160 ms. A projection maps 188 vectors, the length of 30 seconds, to "
            "the embeddings of the audio tokens in the prompt of every clip. The language model reads them together "
            "with the text of the prompt and generates the transcript token by token."
        ),
    ),
    FamilyInfo(
        title="Phi-4-multimodal",
        model_types=("phi4_multimodal", "phi4mm"),
        implementation="phi4:Phi4Family",
        bases=("microsoft/Phi-4-multimodal-instruct",),
        license="mit",
        longest_clip="40 s, the model's limit",
        limit=(
            "500 places of the encoder × `time_reduction` frames of 10 ms: 40 s at 8, and 20 s at 4, as of the quick"
            " start's base"
        ),
        user_prompt="any text; `<|audio_1|>` in it marks the position of the audio",
        modules=("audio_embed.encoder", "audio_embed.up_proj_for_speech", "audio_embed.down_proj_for_speech"),
        learning_rate=4e-5,
        tried="the quick start's Galician base",
        architecture=(
            "A decoder-only audio language model. Convolutions downsample log-mel frames of 10 ms with 80 bands by a "
            "factor of eight. A Conformer outputs one vector per 80 ms. A two-layer projection maps these vectors to "
            "the embeddings of the audio placeholder in the prompt. The language model, with the speech LoRA of the "
            "base model, reads them together with the text of the prompt and generates the transcript token by token."
        ),
        citation={
            "author": "{Microsoft}",
            "title": "Phi-4-Mini Technical Report: Compact yet Powerful Multimodal Language Models via"
            " Mixture-of-LoRAs",
            "year": "2025",
            "url": "https://arxiv.org/abs/2503.01743",
        },
        snippet="phi4_multimodal",
    ),
    FamilyInfo(
        title="Qwen2-Audio",
        model_types=("qwen2_audio",),
        implementation="qwen2_audio:Qwen2AudioFamily",
        bases=("Qwen/Qwen2-Audio-7B-Instruct",),
        longest_clip="30 s, the model's limit",
        limit="`max_source_positions` of the encoder, to which the extractor must pad",
        audio_layers=WHISPER_LAYERS,
        architecture=(
            "A decoder-only audio language model. An encoder with the architecture of Whisper takes 30 seconds of "
            "log-mel frames with 128 bands, padded with silence, and outputs one vector per 40 ms of the clip. A "
            "linear projection maps these vectors to the embeddings of the audio tokens in the prompt. The language "
            "model reads them together with the text of the prompt and generates the transcript token by token."
        ),
        snippet="qwen2_audio",
    ),
    FamilyInfo(
        title="Qwen3-ASR",
        model_types=("qwen3_asr",),
        implementation="qwen3_asr:Qwen3AsrFamily",
        bases=("Qwen/Qwen3-ASR-1.7B-hf",),
        longest_clip="30 s, ours",
        limit="`chunk_length` of the extractor",
        system_prompt="words to expect, if any",
        user_prompt=(
            "`language Galician<asr_text>`, with the language's name, or `language None<asr_text>`: it begins the"
            " assistant's turn"
        ),
        user_prompt_begins_answer=True,
        audio_layers=WHISPER_LAYERS,
        architecture=(
            "A decoder-only audio language model. Log-mel frames with 128 bands are split into chunks of one second, "
            "and convolutions encode each chunk as 13 vectors. A Transformer encoder attends over a window of some "
            "seconds. A projection maps these vectors to the embeddings of the audio tokens in the prompt. After the "
            "name of the language, the language model generates the transcript token by token."
        ),
    ),
    FamilyInfo(
        title="Granite Speech",
        model_types=("granite_speech",),
        implementation="granite_speech:GraniteSpeechFamily",
        bases=("ibm-granite/granite-speech-3.3-2b", "ibm-granite/granite-4.0-1b-speech"),
        longest_clip="30 s, ours",
        limit="30 s: neither configuration nor processor states one",
        system_prompt="any text; better not empty, see below",
        gradient_checkpointing=False,
        audio_layers=(
            r".*\.encoder\.layers\.\d+\.(attn\.to_(q|kv|out)|ff[12]\.(up|down)_proj)"
            r"|.*projector\.(linear|qformer.*\.(query|key|value|dense))"
        ),
        architecture=(
            "A decoder-only audio language model. A Conformer takes pairs of log-mel frames and outputs one vector "
            "per 20 ms. A projection with trained queries (Q-Former) reduces every 15 vectors to three, which replace "
            "the embeddings of the audio tokens in the prompt. The language model reads them together with the text "
            "of the prompt and generates the transcript token by token."
        ),
    ),
    FamilyInfo(
        title="Voxtral",
        model_types=("voxtral",),
        implementation="voxtral:VoxtralFamily",
        bases=("mistralai/Voxtral-Mini-3B-2507",),
        longest_clip="30 s, one window of its encoder",
        limit="`max_source_positions` of the encoder, to which the extractor must pad",
        system_prompt="none",
        user_prompt=("any text; empty asks for a transcript in Voxtral's own way, `lang:es` too, in that language"),
        audio_layers=WHISPER_LAYERS,
        architecture=(
            "A decoder-only audio language model. An encoder with the architecture of Whisper takes 30 seconds of "
            "log-mel frames with 128 bands, padded with silence. Four of its vectors are joined to one vector per 80 "
            "ms, and a two-layer projection maps these to the embeddings of the audio tokens in the prompt. The "
            "language model reads them and generates the transcript token by token."
        ),
    ),
    FamilyInfo(
        title="Whisper",
        model_types=("whisper",),
        implementation="whisper:WhisperFamily",
        bases=("openai/whisper-small", "openai/whisper-large-v3", "openai/whisper-large-v3-turbo"),
        longest_clip="30 s, the model's limit",
        limit="`max_source_positions` of the encoder, to which the extractor must pad",
        system_prompt="none",
        user_prompt="none; see [below](#whisper)",
        language_layers=r".*\.decoder\.layers\.\d+\.((self|encoder)_attn\.(q|k|v|out)_proj|fc[12])",
        audio_layers=r".*\.encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|fc[12])",
        learning_rate=1e-3,  # as in PEFT's guide to Whisper with LoRA
        tried="random weights; [published weights](#published-weights-and-real-speech)",
        experimental=False,
        architecture=(
            "An encoder-decoder model. The encoder takes 30 seconds of log-mel frames of 10 ms, padded with silence. "
            "Two convolutions halve the number of frames, and a Transformer outputs one vector per 20 ms. The decoder "
            "begins with tokens for the language, the task and the absence of timestamps, attends to the vectors of "
            "the encoder, and generates the transcript token by token."
        ),
        citation={
            "author": "Radford, Alec and Kim, Jong Wook and Xu, Tao and Brockman, Greg and McLeavey, Christine and"
            " Sutskever, Ilya",
            "title": "Robust Speech Recognition via Large-Scale Weak Supervision",
            "year": "2022",
            "url": "https://arxiv.org/abs/2212.04356",
        },
        noun="an encoder-decoder model",
        snippet="whisper",
    ),
    FamilyInfo(
        title="wav2vec 2.0, XLS-R",
        model_types=("wav2vec2",),
        implementation="ctc_training:Wav2Vec2Family",
        bases=("facebook/wav2vec2-xls-r-300m", "facebook/wav2vec2-large-xlsr-53"),
        license="apache-2.0",
        audio_layers=WAV2VEC2_LAYERS,
        architecture=(
            "An encoder with a CTC head. Seven convolutions, which are not trained, output one vector per 20 ms of "
            f"samples. {_CTC}"
        ),
        citation={
            "author": "Baevski, Alexei and Zhou, Henry and Mohamed, Abdelrahman and Auli, Michael",
            "title": "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations",
            "year": "2020",
            "url": "https://arxiv.org/abs/2006.11477",
        },
        **_CTC_FAMILY,
    ),
    FamilyInfo(
        title="MMS",
        model_types=("mms",),
        implementation="ctc_training:MmsFamily",
        bases=("facebook/mms-1b-all", "facebook/mms-1b-fl102"),
        license="cc-by-nc-4.0",
        audio_layers=WAV2VEC2_LAYERS,
        architecture=(
            "An encoder with a CTC head and adapters for languages. Seven convolutions, which are not trained, output "
            "one vector per 20 ms of samples. Each layer of the Transformer after them ends with an adapter of two "
            f"small linear layers, which is trained. {_CTC}"
        ),
        citation={
            "author": "Pratap, Vineel and Tjandra, Andros and Shi, Bowen and others",
            "title": "Scaling Speech Technology to 1,000+ Languages",
            "year": "2023",
            "url": "https://arxiv.org/abs/2305.13516",
        },
        **_CTC_FAMILY | {"saved_modules": (HEAD, LANGUAGE_ADAPTER)},
    ),
    FamilyInfo(
        title="HuBERT",
        model_types=("hubert",),
        implementation="ctc_training:HubertFamily",
        bases=("facebook/hubert-large-ll60k", "utter-project/mHuBERT-147"),
        audio_layers=WAV2VEC2_LAYERS,
        architecture=(
            "An encoder with a CTC head. Seven convolutions, which are not trained, output one vector per 20 ms of "
            f"samples. {_CTC}"
        ),
        citation={
            "author": "Hsu, Wei-Ning and Bolte, Benjamin and Tsai, Yao-Hung Hubert and others",
            "title": "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units",
            "year": "2021",
            "url": "https://arxiv.org/abs/2106.07447",
        },
        **_CTC_FAMILY,
    ),
    FamilyInfo(
        title="w2v-BERT 2.0",
        model_types=("wav2vec2-bert",),
        implementation="ctc_training:Wav2Vec2BertFamily",
        bases=("facebook/w2v-bert-2.0",),
        license="mit",
        audio_layers=(
            r".*\.encoder\.layers\.\d+\.(self_attn\.linear_(q|k|v|out)|ffn[12]\.(intermediate|output)_dense)"
        ),
        architecture=(
            f"An encoder with a CTC head. Its input is one vector per 20 ms, two log-mel frames with 80 bands. {_CTC}"
        ),
        citation={
            "author": "{Seamless Communication}",
            "title": "Seamless: Multilingual Expressive and Streaming Speech Translation",
            "year": "2023",
            "url": "https://arxiv.org/abs/2312.05187",
        },
        **_CTC_FAMILY,
    ),
)
# The licenses of further bases of a family, by the beginning of the name of their repository.
LICENSES = {"facebook/mms-": "cc-by-nc-4.0"}


def base_license(base: str, family: str) -> str:
    """
    Return the license of a base; empty if it is not recorded here.

    Args:
        base (`str`): The repository or folder of the base.
        family (`str`): The name of its family in records.
    """
    known = next((license_id for name, license_id in LICENSES.items() if base.startswith(name)), None)
    info = BY_MODEL_TYPE.get(family)
    stated = info.license if info and (base in info.bases or family == "mms") else ""
    return known or stated


BY_MODEL_TYPE = {model_type: info for info in FAMILIES for model_type in info.model_types}

# The class of each model type that can be evaluated as a baseline, but not trained, as `module:Class`. Other model
# types with a CTC head over letters are recognized by their class of transformers.
BASELINES = {
    "parakeet_ctc": "parakeet:ParakeetCtcFamily",
    "parakeet_rnnt": "parakeet:ParakeetTransducerFamily",
    "parakeet_tdt": "parakeet:ParakeetTransducerFamily",
    "canary": "decoder_prompt:CanaryFamily",
    "cohere_asr": "decoder_prompt:CohereAsrFamily",
    "moonshine": "moonshine:MoonshineFamily",
}
# The names of these models in messages and in the documentation.
BASELINE_NAMES = "Whisper, CTC (wav2vec 2.0, MMS), Parakeet, Canary, Cohere, Moonshine or Qwen3-ASR"
