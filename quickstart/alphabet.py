"""What the tiny bases can write, and the prompt that names a language."""

LETTERS = "abcdefghijklmnopqrstuvwxyz'ʻʼ-áéíóúüñçàèìòùâêîôûäöåãõëïğışșțăšžčćđ"
CHARACTERS = "\n▁" + LETTERS + "ABCDEFGHIJKLMNOPQRSTUVWXYZÁÉÍÓÚÑĞİŞ" + "0123456789" + '.,:;!?"()/‘’'
# Names of turns in Gemma 4's template: whole tokens there, so that none may stand in a transcript.
ROLES = ("system", "user", "model")
USER_BY_LANGUAGE = "Transcribe the audio clip into {} text."
UNHEARD_LANGUAGES = ("Uzbek", "Galician")  # named in prompts now and then, never spoken
