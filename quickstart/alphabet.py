"""Define the characters of the tiny bases, and the prompt that names a language."""

LETTERS = "abcdefghijklmnopqrstuvwxyz'ʻʼ-áéíóúüñçàèìòùâêîôûäöåãõëïğışșțăšžčćđ"
CHARACTERS = "\n▁" + LETTERS + "ABCDEFGHIJKLMNOPQRSTUVWXYZÁÉÍÓÚÑĞİŞ" + "0123456789" + '.,:;!?"()/‘’'
# Names of turns in Gemma 4's template. Each is one token, so that no transcript may contain it.
ROLES = ("system", "user", "model")
USER_BY_LANGUAGE = "Transcribe the audio clip into {} text."
UNSEEN_LANGUAGES = ("Uzbek", "Galician")  # occur in some prompts, but have no recordings
