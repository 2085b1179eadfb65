"""Name the class of each model type that can be evaluated as a baseline, but not trained."""

# As `module:Class` in `escoita.models`, without an import of torch. Other model types with a CTC head over letters,
# such as wav2vec 2.0, MMS, HuBERT and w2v-BERT, are recognized by their class of transformers.
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
