"""Find the times of the words of a transcript in a long recording, with any CTC model."""

import unicodedata
from collections import Counter
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from escoita.audio.loading import SAMPLING_RATE, seconds
from escoita.errors import EscoitaError
from escoita.hub.files import file_if_any
from escoita.inference.alignment import SENTENCE_END, split_words
from escoita.inference.ctc_alignment import align_letters
from escoita.utils.limits import MEBIBYTE, read_bounded
from escoita.utils.untrusted import read_yaml


if TYPE_CHECKING:
    from escoita.inference.transcriber import Transcriber
    from escoita.models.base import Family

# A recording is encoded in windows, each with so much audio before and after it that its frames have context.
WINDOW, CONTEXT = 20.0, 2.0
# The share of letters that a model must have; below it, transcripts are romanized.
_KNOWN = 0.7
# The longest time in which a character of a word without letters is spoken, in seconds.
_NUMBER = 1.0
_README_BYTES = MEBIBYTE


class AlignerError(EscoitaError):
    """Report a model or a transcript that cannot be used for an alignment."""


class AlignedWord(NamedTuple):
    """
    Store a word with its time.

    Args:
        text (`str`): The word with its punctuation.
        start (`float`): The start in seconds.
        end (`float`): The end in seconds.
        score (`float`): The mean log-probability of its letters, in nats; NaN for a word without letters of the model.
            A number takes the speech without text at its place, if there is some; other such words have no length.
        letters (`int`): The number of its letters that were aligned.
        other (`float`): The seconds of speech without text between the word before and this one.
        spaced (`bool`, *optional*, defaults to `True`): Whether a space separates it from the word before.
    """

    text: str
    start: float
    end: float
    score: float
    letters: int
    other: float
    spaced: bool = True


def load_aligner(model: str, language: str) -> "Aligner":
    """
    Load a model that aligns.

    Args:
        model (`str`): A CTC model: a run directory, an adapter, or a model.
        language (`str`): The language of the transcripts.

    Raises:
        AlignerError: The model has no CTC head over letters.
    """
    from escoita.inference.model_source import base_and_adapter, find_model
    from escoita.models import family_for_evaluation

    # Before a large model of another kind is loaded, or its prompt is asked for.
    base, _ = base_and_adapter(model)
    _refuse_other_family(family_for_evaluation(base), model)
    return Aligner(find_model(model, language=language).load(), model)


def _refuse_other_family(family: "Family", name: str) -> None:
    from escoita.models.ctc import CtcFamily

    if not isinstance(family, CtcFamily):
        hint = "use a CTC model, such as wav2vec 2.0, HuBERT or MMS"
        raise AlignerError("has no CTC head over letters, which an aligner needs", path=name, hint=hint)


class Aligner:
    """
    Align transcripts with recordings by a CTC model.

    Args:
        transcriber ([`~escoita.inference.transcriber.Transcriber`]): The model, with the language of the transcripts.
        name (`str`): The name of the model, for errors.

    Raises:
        AlignerError: The model has no CTC head over letters.
    """

    def __init__(self, transcriber: "Transcriber", name: str):
        _refuse_other_family(transcriber.family, name)
        self.transcriber, self.name, self.romanized = transcriber, name, False
        language = transcriber.generation_settings.language
        transcriber.family.set_language(transcriber.model, transcriber.processor, language)
        tokenizer = transcriber.processor.tokenizer
        self.vocabulary: dict[str, int] = tokenizer.get_vocab()
        self.blank = int(tokenizer.pad_token_id)
        delimiter = getattr(tokenizer, "word_delimiter_token", None)
        self.delimiter = self.vocabulary.get(delimiter) if delimiter else None
        special = {*tokenizer.all_special_tokens, delimiter}
        self.letters = {letter: index for letter, index in self.vocabulary.items() if letter not in special}
        self._uroman: Any = None

    def prepare_for(self, text: str) -> None:
        """
        Decide whether transcripts are romanized: if the model lacks more than 30 % of their letters.

        Args:
            text (`str`): The transcripts.

        Raises:
            AlignerError: The model lacks the letters, also of the romanized text, or uroman is not installed.
        """
        if self._known(text) >= _KNOWN:
            return
        try:
            import uroman
        except ImportError as error:
            hint = (
                "pip install 'escoita[align]', which romanizes the text, or use a model with the letters of the text"
            )
            raise AlignerError("the model lacks the letters of the transcripts", path=self.name, hint=hint) from error
        self._uroman, self.romanized = uroman.Uroman(), True
        if self._known(self._romanized(text[:20_000])) < _KNOWN:
            raise AlignerError("the model lacks the letters of the romanized transcripts", path=self.name)

    def _known(self, text: str) -> float:
        letters = Counter(each for each in text if each.isalpha())
        known = sum(count for letter, count in letters.items() if self._index(letter))
        return known / letters.total() if letters else 1.0

    def _index(self, letter: str) -> list[int]:
        for form in (letter, letter.lower(), letter.upper(), unicodedata.normalize("NFD", letter.lower())[0]):
            if form in self.letters:
                return [self.letters[form]]
        return []

    def _romanized(self, text: str) -> str:
        import langcodes

        language = self.transcriber.generation_settings.language
        code = langcodes.get(language).to_alpha3() if language else None
        return str(self._uroman.romanize_string(text, lcode=code))

    def word_letters(self, word: str) -> list[int]:
        """Return the letters of the model in a word; characters that it lacks are left out."""
        text = self._romanized(word) if self._uroman is not None else word
        return [index for letter in unicodedata.normalize("NFC", text) for index in self._index(letter)]

    def log_probabilities(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the log-probabilities of letters in each frame of a recording, and the times of the frames.

        Args:
            samples (`np.ndarray`): The recording, of shape `(samples,)`, float32, 16 kHz.

        Returns:
            `tuple[np.ndarray, np.ndarray]`: The log-probabilities of shape `(frames, letters)`, float32, and the
            middle of each frame in seconds, of shape `(frames,)`.
        """
        import torch

        transcriber = self.transcriber
        parts, times = [], []
        length = seconds(samples)
        start = 0.0
        while start < length:
            stop = min(length, start + WINDOW)
            stop = length if length - stop < CONTEXT else stop  # a short rest belongs to the last window
            first, last = max(0.0, start - CONTEXT), min(length, stop + CONTEXT)
            clip = samples[round(first * SAMPLING_RATE) : round(last * SAMPLING_RATE)]
            features = transcriber.family.encode(transcriber.encoder, [clip], transcriber.generation_settings.prompt)
            features.pop("attention_mask", None)  # a single clip has no padding
            placed = {key: transcriber._placed(value) for key, value in features.items()}
            with torch.inference_mode():
                logits = transcriber.model(**placed).logits[0].float().log_softmax(-1).cpu().numpy()
            at = first + (np.arange(len(logits)) + 0.5) * seconds(clip) / len(logits)
            inside = (at >= start) & (at < stop)
            parts.append(logits[inside])
            times.append(at[inside])
            start = stop
        return np.concatenate(parts), np.concatenate(times)

    def align(self, samples: np.ndarray, text: str) -> tuple[list[AlignedWord], float]:
        """
        Find the times of the words of a transcript.

        Args:
            samples (`np.ndarray`): The recording, of shape `(samples,)`, float32, 16 kHz.
            text (`str`): The transcript.

        Returns:
            `tuple[list[AlignedWord], float]`: The words in order, and the seconds of speech without text after them.

        Raises:
            AlignerError: No word has letters of the model, or the transcript is too long for the recording.
        """
        words = split_words(text)
        letters = [self.word_letters(word) for word, _ in words]
        aligned = [index for index, each in enumerate(letters) if each]
        if not aligned:
            raise AlignerError("the transcript contains no letter of the model", path=self.name)
        log_probabilities, times = self.log_probabilities(samples)
        found = align_letters(log_probabilities, [letters[index] for index in aligned], self.blank, self.delimiter)
        if found is None:
            raise AlignerError("the transcript is too long for the recording", path=self.name)
        frame = float(np.median(np.diff(times))) if len(times) > 1 else seconds(samples)
        spans = dict(zip(aligned, found.words, strict=True))
        result: list[AlignedWord] = []
        for index, (word, spaced) in enumerate(words):
            if span := spans.get(index):
                start, end = float(times[span.start] - frame / 2), float(times[span.end - 1] + frame / 2)
                count = len(letters[index])
                result.append(AlignedWord(word, start, end, span.score, count, span.other * frame, spaced))
            else:
                result.append(AlignedWord(word, 0.0, 0.0, float("nan"), 0, 0.0, spaced))
        start, end = float(times[found.start] - frame / 2), float(times[found.end - 1] + frame / 2)
        return result, _place_without_letters(result, found.other * frame, start, end)


def _place_without_letters(words: list[AlignedWord], rest: float, start: float, end: float) -> float:
    """
    Give the words without letters their places: numbers where they are spoken, dashes next to a neighbor.

    Args:
        words (`list[AlignedWord]`): The words, which are changed in place; at least one has letters.
        rest (`float`): The seconds of speech without text after the last word with letters.
        start (`float`): The start of the first speech in seconds.
        end (`float`): The end of the last speech in seconds.

    Returns:
        `float`: The seconds of speech without text after the last word.
    """
    for with_letters, places in groupby(range(len(words)), lambda place: words[place].letters > 0):
        if with_letters:
            continue
        run = list(places)
        before = words[run[0] - 1] if run[0] else None
        after = words[run[-1] + 1] if run[-1] + 1 < len(words) else None
        sizes = [len(words[place].text) if without_letters(words[place]) else 0 for place in run]
        spoken = after.other if after else rest
        first, last = before.end if before else start, after.start if after else end
        if 0 < spoken <= _NUMBER * sum(sizes):
            for place, done, size in zip(run, accumulate(sizes, initial=0), sizes, strict=False):
                part = (last - first) / sum(sizes)
                words[place] = words[place]._replace(start=first + part * done, end=first + part * (done + size))
            if after:
                words[run[-1] + 1] = after._replace(other=0.0)
            else:
                rest = 0.0
            continue
        now = before.end if before else last
        for place in run:
            dash = not without_letters(words[place])
            if after and dash and place and SENTENCE_END.search(words[place - 1].text):
                now = last  # such as the dash before direct speech
            words[place] = words[place]._replace(start=now, end=now)
    return rest


def without_letters(word: AlignedWord) -> bool:
    """Return whether a word is spoken, but has no letter of the model, such as a number in digits."""
    return not word.letters and any(map(str.isalnum, word.text))


def stated_license(model: str, base: str) -> str:
    """
    Return the license that the card of a model states, else that of its base; empty if none is stated.

    Args:
        model (`str`): A folder or a repository of the Hub.
        base (`str`): The base, which may be the same.
    """
    for name in dict.fromkeys((model, base)):
        try:
            card = file_if_any(name, "README.md")
            if card is None:
                continue
            text = read_bounded(card, _README_BYTES).decode("utf-8", "replace")
            _, opened, rest = text.partition("---\n")
            values = read_yaml(rest.partition("\n---")[0])[0] if opened else None
        except Exception:  # noqa: S112  (a card that cannot be read states no license)
            continue
        license_name = values.get("license") if isinstance(values, dict) else None
        if isinstance(license_name, str) and license_name:
            return license_name[:100]
    return ""
