"""Find the errors of audio language models that edits do not describe, in each utterance."""

import re
from collections import Counter
from collections.abc import Sequence
from unicodedata import normalize

import numpy as np

from escoita.metrics.characters import count_characters, count_scripts, main_script


FAULTS = ("empty", "loop", "wrong_script", "wrong_language", "chat_like", "truncated")

REPEATS, LONGEST_PHRASE = 4, 8  # the fewest repeats in a loop, and its longest phrase in words
OWN_SCRIPT_SHARE = 0.05  # a share of the letters of all references
FOREIGN_WORDS, FOREIGN_SHARE = 2, 0.3  # a count and a share of the words of a hypothesis

# Function words of the languages that models fall back on, almost without words that Galician or Uzbek has too.
FUNCTION_WORDS = {
    "English": "i if the of and is that it you for was with are this have not be they we what your from there can "
    "will would about which he she his her their but all been were my our",
    "Spanish": "el los las y una es del su sus lo muy hay eso esto pero cuando donde también porque qué yo fue ella "
    "ellos nosotros usted hasta sin más ya tiene puede ahora entonces bien siempre",
    "Portuguese": "não um uma você também são isso muito mas em com ele eles então já estão pelo nós minha sua "
    "quando há num numa às até depois fazer tem à bem mesmo nem sem",
    "French": "le la les et est dans pour pas vous nous je il elle avec sur une ce cette qui plus sont au aux être "
    "fait ils tout comme suis du ai mon bien ne",
    "Italian": "il gli che è per una sono questo questa anche della del nel più ma ho hai ci mi quando perché molto "
    "essere io hanno alla dei lui lei cosa di",
    "German": "der die und ist nicht ich sie wir mit auf für eine ein den dem zu von auch wie aber wenn haben sind "
    "war oder noch nur dass er hat was",
    "Russian": "и в не на что с по это как но он она мы вы из за к от до для же бы так все его если или только "
    "когда меня был было я нет",
    "Turkish": "ve için değil çok olarak gibi daha ama sonra şey nasıl ile olan var yok evet hayır şimdi benim "
    "senin onun bunu ben kadar diye olduğu ise şu hiç oldu eğer",
    "Indonesian": "yang itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada mereka lebih sudah "
    "atau seperti kami kita dia oleh orang adalah telah bisa anda aku tapi",
}

# The beginnings of answers that are not transcripts, or are transcripts with a preface.
OPENINGS = (
    r"```|\*\*\w|#+ \w",
    r"note ?:|(?:the )?transcript(?:ion)?(?: (?:is|of the audio))? ?:",
    r"(?:sure|certainly|of course|okay)[,.!]* (?:here|i can|i'll|i will|let me)\b",
    r"here(?:'s| is| are) (?:the|a|your|what)\b",
    r"(?:i'm|i am|we're) (?:sorry|afraid)\b[,.]* (?:but )?(?:i|we|as)\b",
    r"(?:unfortunately|sorry)\b[,.]* (?:but )?i\b",
    r"i (?:can't|cannot|can not|could not|couldn't|am unable to|am not able to) (?:hear|understand|transcribe|help)\b",
    r"(?:i'm|i am|as) an? (?:ai|large language model|language model|audio)\b",
    r"the (?:audio|speaker|recording|speech|clip) (?:says?|is|was|contains?|seems|appears|mentions)\b",
    r"(?:claro|por supuesto)[,.!]* aquí (?:está|tienes?|va)\b|aquí (?:está|tienes?) la transcripción",
    r"lo siento[,.]* (?:pero )?no puedo (?:escuchar|oír|transcribir|entender|procesar|ayudar)",
    r"(?:como|soy) (?:una? )?(?:ia|modelo de lenguaje|asistente virtual)\b",
    r"el (?:audio|hablante|orador) (?:dice|contiene|menciona)\b|(?:la )?transcripci[óo]n[^:\n]{,20}:",
    r"claro[,.!]* aqui (?:está|vai|tem)\b|aqui está a transcrição",
    r"(?:desculpe|sinto muito|lamento)[,.]* (?:mas )?(?:eu )?não (?:posso|consigo)\b",
    r"(?:como|sou) (?:uma? )?(?:ia|modelo de linguagem|assistente virtual)\b",
    r"o (?:áudio|falante|locutor) (?:diz|contém|menciona)\b|(?:a )?transcrição[^:\n]{,20}:",
    r"конечно[,.!]* вот\b|вот (?:транскрипция|расшифровка|текст)\b",
    r"(?:извините|простите|к сожалению)[,.]* (?:но )?я не (?:могу|слышу|понимаю)\b",
    r"(?:как|я) (?:языковая модель|искусственный интеллект|ии)\b",
    r"(?:говорящий|диктор) (?:говорит|произносит)\b|в аудио(?:записи)? (?:говорится|звучит)\b",
    r"(?:транскрипция|транскрипт|расшифровка)[^:\n]{,20}:",
    r"(?:tabii|elbette)[,.!]* (?:ki[,.!]* )?işte\b|işte (?:transkript|transkripsiyon|metin)",
    r"üzgünüm[,.]* (?:ama|ancak|bu ses)\b|bir (?:yapay zeka|dil modeli)\b",
    r"konuşmacı (?:diyor|şöyle)\b|ses kaydında\b|transkri(?:pt|psiyon|psiya)[^:\n]{,20}:",
)

_WORD = re.compile(r"[^\W_]+")
_REPEATED = re.compile(r"(?=\S{12})(?:(\S)\1{11,}|(\S\S)\2{5,}|(\S{3,8}?)\3{3,})")
_CHAT = re.compile(rf"^(?:[^\S\n]|[\"“”«»])*(?:{'|'.join(OPENINGS)})", re.IGNORECASE | re.MULTILINE)


def find_faults(
    references: Sequence[str], hypotheses: Sequence[str], truncated: Sequence[bool]
) -> dict[str, np.ndarray]:
    """
    Find errors other than edits. If a hypothesis is equal to its reference, only `truncated` can be true.

    - `empty`: the hypothesis contains no letter or digit, and its reference does.
    - `loop`: one to eight words are repeated at least four times in a row; or, without spaces, one character twelve
      times, two characters six times, three to eight characters four times. Not if its reference repeats as often.
    - `wrong_script`: most of its letters are of another script than most letters of its reference, and of one to which
      less than a twentieth of the letters of all references belongs. Kanji and kana are one script.
    - `wrong_language`: it has at least three words, of which at least two, and at least 30 %, are function words of
      one other language. Words of its own reference, and words that occur in more than one of a thousand references
      (in fewer references: at all), do not count as words of another language.
    - `chat_like`: it, or a line of it, begins like an answer to a person, and no line of its reference does.
    - `truncated`: as given.

    Args:
        references (`Sequence[str]`): The references of a complete corpus, which define its scripts and words; not
            normalized.
        hypotheses (`Sequence[str]`): The hypotheses in the same order; not normalized.
        truncated (`Sequence[bool]`): Whether each hypothesis was ended by the token limit.

    Returns:
        `dict[str, np.ndarray]`: Booleans of shape `(utterances,)` for each of `FAULTS`.

    Raises:
        ValueError: The three sequences have different lengths.
    """
    found = {fault: np.zeros(len(references), dtype=bool) for fault in FAULTS}
    scripts, languages = _own_scripts(references), _foreign_words(references)
    for row, (reference, hypothesis, cut) in enumerate(zip(references, hypotheses, truncated, strict=True)):
        found["truncated"][row] = cut
        if hypothesis == reference:
            continue
        words, own_words = _words(hypothesis), _words(reference)
        found["empty"][row] = bool(own_words) and not words
        repeats = _repeats(hypothesis, words)
        found["loop"][row] = repeats > 0 and repeats > _repeats(reference, own_words)
        found["wrong_script"][row] = _is_in_another_script(hypothesis, reference, scripts)
        found["wrong_language"][row] = _is_foreign(words, set(own_words), languages)
        found["chat_like"][row] = _is_chat(hypothesis) and not _is_chat(reference)
    return found


def _words(text: str) -> list[str]:
    return _WORD.findall(normalize("NFC", text.lower()))


def _repeats(text: str, words: list[str]) -> int:
    """Return the largest number of repeats in a row; 0 if there is no loop."""
    most = 0
    if len(words) - len(set(words)) >= REPEATS - 1:
        for length in range(1, LONGEST_PHRASE + 1):
            same = 0  # words in a row that are equal to those one phrase before
            for word, before in zip(words[length:], words, strict=False):
                same = same + 1 if word == before else 0
                most = max(most, same // length + 1)
    cycles = (len(cycle[0]) // len(cycle[cycle.lastindex or 0]) for cycle in _REPEATED.finditer(text))
    return max(cycles, default=0) or (most if most >= REPEATS else 0)


def _is_in_another_script(hypothesis: str, reference: str, scripts: set[str]) -> bool:
    script, own = main_script(Counter(hypothesis)), main_script(Counter(reference))
    return bool(script and own) and script != own and script not in scripts


def _own_scripts(references: Sequence[str]) -> set[str]:
    letters = count_scripts(count_characters(references))
    return {script for script, count in letters.items() if count >= OWN_SCRIPT_SHARE * letters.total()}


def _foreign_words(references: Sequence[str]) -> list[set[str]]:
    frequencies = Counter(_words("\n".join(references)))
    return [
        {word for word in words.split() if frequencies[word] * 1000 <= len(references)}
        for words in FUNCTION_WORDS.values()
    ]


def _is_foreign(words: list[str], own: set[str], languages: list[set[str]]) -> bool:
    needed = max(FOREIGN_WORDS, FOREIGN_SHARE * len(words))
    others = [word for word in words if word not in own]
    if len(words) < 3 or len(others) < needed:
        return False
    return any(sum(word in language for word in others) >= needed for language in languages)


def _is_chat(text: str) -> bool:
    return _CHAT.search(text.replace("’", "'")) is not None
