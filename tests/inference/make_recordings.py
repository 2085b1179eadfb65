"""
Make the recordings of `tests/fixtures/spoken`, whose words have known times, with espeak-ng (Debian: `libespeak-ng1`).

The costs of `escoita/inference/alignment.py` were found on seven other languages.
"""

import ctypes
import json
import random
import re
from pathlib import Path

import numpy as np
import soundfile
import soxr


FOLDER = Path(__file__).parents[1] / "fixtures/spoken"
RATE = 16_000
TEXTS = {
    "it": "Il fornaio apre la bottega alle cinque del mattino. Nella piazza, i tavoli sono già pieni di studenti. Mia"
    " zia coltiva pomodori, basilico e peperoni dietro la casa. Nessuno ricordava dove fosse nascosta la chiave. La"
    " settimana scorsa abbiamo visitato il museo della ferrovia.",
    "tr": "Sabah erkenden pazara gittik ve taze peynir aldık. Kütüphanenin önünde uzun bir kuyruk vardı. Dedem, eski"
    " radyoyu tamir etmeye çalışıyordu. Akşam yemeğinden sonra çay içip sohbet ettik. Çocuklar bahçede top oynuyor,"
    " kediler ise güneşte uyuyordu. Yarın hava güzel olursa denize gideceğiz.",
    "pl": "Wczoraj wieczorem spadł pierwszy śnieg tej zimy. Na rynku sprzedawano jabłka, miód i ciepłe czapki."
    " Nauczycielka poprosiła, żebyśmy przeczytali cały rozdział. Pociąg spóźnił się o czterdzieści minut. Babcia"
    " opowiadała nam o dawnych czasach, kiedy w domu nie było prądu.",
    "el": "Το πρωί περπατήσαμε μέχρι το λιμάνι. Οι ψαράδες επισκεύαζαν τα δίχτυα τους και συζητούσαν δυνατά. Η γιαγιά"
    " μου φτιάχνει πάντα πίτα την Κυριακή. Το καλοκαίρι το νησί γεμίζει τουρίστες, αλλά τον χειμώνα είναι ήσυχο.",
    "hu": "Tegnap este sokáig beszélgettünk a konyhában. A piacon almát, diót és friss kenyeret vettünk. Nagyapám régi"
    " rádiókat javított a műhelyében. Holnap, ha nem esik az eső, kirándulni megyünk.",
}
# Spoken without any pause.
CONTINUOUS = ("it", "pl")
_SYNCHRONOUS, _UTF8, _PHONEME_EVENTS = 2, 1, 1
_END, _WORD, _PHONEME = 0, 1, 7


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int) for name in ("type", "unique", "text_position", "length", "milliseconds", "sample")],
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_chunks: list[np.ndarray] = []
# Place in the text of each word, and time in seconds; a pause has place 0.
_events: list[tuple[int, float]] = []


@_CALLBACK
def _collect(samples, count, events):  # called by the library
    if samples and count > 0:
        _chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
    number = 0
    while events[number].type != _END:
        event = events[number]
        if event.type == _WORD:
            _events.append((event.text_position, event.milliseconds / 1000))
        elif event.type == _PHONEME and event.id.string.startswith(b"_"):
            _events.append((0, event.milliseconds / 1000))
        number += 1
    return 0


def speak(library: ctypes.CDLL, rate: int, text: str, voice: str, speed: int) -> tuple[np.ndarray, list] | None:
    """Return samples at 16 kHz, and word, start and end of each word; nothing if it reads two words as one."""
    library.espeak_SetVoiceByName(voice.encode())
    library.espeak_SetParameter(1, speed, 0)
    _chunks.clear()
    _events.clear()
    encoded = text.encode() + b"\0"
    library.espeak_Synth(encoded, len(encoded), 0, 1, 0, _UTF8, None, None)
    samples = soxr.resample(np.concatenate(_chunks).astype(np.float32) / 32768, rate, RATE)
    places = [found.start() for found in re.finditer(r"\S+", text)]
    starts: dict[int, float] = {}
    for place, time in _events:
        if place:
            starts.setdefault(max(number for number, start in enumerate(places) if start < place), time)
    if len(starts) < len(places):
        return None
    words = []
    for number, word in enumerate(text.split()):
        following = starts.get(number + 1, len(samples) / RATE)
        pauses = [time for place, time in _events if not place and starts[number] < time <= following]
        words.append([word, round(starts[number], 3), round(min([*pauses, following]), 3)])
    return samples, words


def main() -> None:
    library = ctypes.CDLL("libespeak-ng.so.1")
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
    library.espeak_SetSynthCallback(_collect)
    draw, times = random.Random(0), {}  # noqa: S311  # needs no secrecy
    for language, text in TEXTS.items():
        sentences = re.findall(r"[^.]+\.", text)
        pieces, words, seconds = [], [], 0.0
        for sentence in sentences:
            silence = np.zeros(round(draw.uniform(0.3, 1.2) * RATE), np.float32)
            found = speak(library, rate, sentence.strip(), language, draw.randint(130, 180))
            if found is None:
                continue
            samples, spoken = found
            samples = samples[: round((spoken[-1][2] + 0.03) * RATE)]
            seconds += len(silence) / RATE
            words += [[word, round(start + seconds, 3), round(end + seconds, 3)] for word, start, end in spoken]
            pieces += [silence, samples]
            seconds += len(samples) / RATE
        _write(language, np.concatenate(pieces))
        times[language] = words
        if language in CONTINUOUS:
            name = f"{language}-continuous"
            found = speak(library, rate, re.sub(r"[.,]", "", text).lower(), language, 150)
            assert found, language
            _write(name, found[0])
            times[name] = found[1]
    text = json.dumps(times, ensure_ascii=False).replace("]], ", "]],\n").replace("], [", "],\n[")
    (FOLDER / "words.json").write_text(text + "\n", "utf-8")


def _write(name: str, samples: np.ndarray) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    soundfile.write(FOLDER / f"{name}.ogg", samples, RATE, format="OGG", subtype="OPUS", compression_level=0.9)


if __name__ == "__main__":
    main()
