"""Write the same few clips in each layout that `escoita init` recognizes."""

import csv
import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from tests.conftest import CORPUS


class Clip(NamedTuple):
    """Store a clip of the quick start."""

    path: Path
    text: str
    speaker: str


def clips(count: int = 12) -> list[Clip]:
    """Return clips of several speakers with different sentences."""
    rows = [json.loads(line) for line in (CORPUS / "train.jsonl").read_text("utf-8").splitlines()]
    found = {row["text"]: row for row in rows}
    by_speaker: dict[str, list[Clip]] = {}
    for text, row in found.items():
        by_speaker.setdefault(row["speaker"], []).append(Clip(CORPUS / row["audio_filepath"], text, row["speaker"]))
    speakers = sorted(by_speaker, key=lambda name: -len(by_speaker[name]))[:3]
    return [by_speaker[speakers[index % 3]][index // 3] for index in range(count)]


CLIPS = clips()
TEXTS = {clip.text for clip in CLIPS}
HEADER = ["ID", "Nome do ficheiro", "Transcrición", "Falante", "Data de gravación"]


def _wav(clip: Clip, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, *soundfile.read(clip.path))
    return path


def _rows(folder: Path, backslashes: bool = False) -> list[list[str]]:
    rows = []
    for index, clip in enumerate(CLIPS):
        name = _wav(clip, folder / f"Gravacións/Gravación {index:03d}.wav").relative_to(folder).as_posix()
        name = name.replace("/", "\\") if backslashes else Path(name).name
        rows.append([str(index + 1), name, clip.text, clip.speaker, f"2024-03-{index + 1:02d}"])
    return rows


def _table(delimiter: str, encoding: str, backslashes: bool = False, ending: str = "csv") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
        writer.writerows([HEADER, *_rows(folder, backslashes)])
        content = text.getvalue()
        if encoding == "cp1252":  # which has no letter of Uzbek's apostrophe
            content = content.replace("ʻ", "‘").replace("ʼ", "’")
        (folder / f"Transcricións (final) v2.{ending}").write_bytes(content.encode(encoding))

    return write


def _ljspeech(folder: Path) -> None:
    lines = []
    for index, clip in enumerate(CLIPS):
        _wav(clip, folder / f"wavs/LJ001-{index:04d}.wav")
        lines.append(f"LJ001-{index:04d}|{clip.text}|{clip.text}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")


def _objects(lines: bool) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        rows = [
            {"file": row[1], "transcripción": row[2], "hablante": row[3], "duration": 1.0} for row in _rows(folder)
        ]
        if lines:
            (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
        else:
            (folder / "rows.json").write_text(json.dumps({"data": rows}), "utf-8")

    return write


def _nemo(folder: Path) -> None:
    lines = [
        json.dumps(
            {"audio_filepath": f"/data/other/{_wav(clip, folder / f'c{index}.wav').name}", "duration": 1.0}
            | {"text": clip.text}
        )
        for index, clip in enumerate(CLIPS)
    ]
    (folder / "manifest.json").write_text("\n".join(lines) + "\n", "utf-8")


def _audiofolder(folder: Path) -> None:
    for split, part in (("train", CLIPS[:8]), ("test", CLIPS[8:])):
        lines = ["file_name,transcription"]
        for index, clip in enumerate(part):
            _wav(clip, folder / split / f"{index}.wav")
            lines.append(f"{index}.wav,{clip.text}")
        (folder / split / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")


def _texts(suffix: str, folder_name: str = "") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for index, clip in enumerate(CLIPS):
            _wav(clip, folder / clip.speaker / f"{index}.wav")
            text = folder / (folder_name or clip.speaker) / f"{index}{suffix}"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text(clip.text + "\n", "utf-8-sig")

    return write


def _librispeech(folder: Path) -> None:
    for index, clip in enumerate(CLIPS):
        speaker = 100 + index % 3
        chapter = folder / f"train-clean-5/{speaker}/1"
        name = f"{speaker}-1-{index:04d}"
        _wav(clip, chapter / f"{name}.flac")
        with (chapter / f"{speaker}-1.trans.txt").open("a", encoding="utf-8") as file:
            file.write(f"{name} {clip.text}\n")


def _kaldi(folder: Path) -> None:
    data = folder / "data/all"
    data.mkdir(parents=True)
    files: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
    for index, clip in enumerate(CLIPS):
        name = f"{clip.speaker}-{index}"
        _wav(clip, folder / f"wav/{name}.wav")
        files["wav.scp"].append(f"{name} sox /export/wav/{name}.wav -t wav - |")
        files["text"].append(f"{name} {clip.text}")
        files["utt2spk"].append(f"{name} {clip.speaker}")
    for name, lines in files.items():
        (data / name).write_text("\n".join(lines) + "\n", "utf-8")


def _lhotse(folder: Path) -> None:
    lines = []
    for index, clip in enumerate(CLIPS):
        path = _wav(clip, folder / f"audio/{index}.wav")
        length = soundfile.info(path).duration
        supervision = {"id": f"s{index}", "start": 0, "duration": length, "text": clip.text, "speaker": clip.speaker}
        source = {"type": "file", "channels": [0], "source": f"/old/audio/{index}.wav"}
        recording = {"id": f"r{index}", "sources": [source], "duration": length}
        cut = {"id": f"c{index}", "start": 0, "duration": length, "supervisions": [supervision]}
        lines.append(json.dumps({**cut, "recording": recording, "type": "MonoCut"}))
    (folder / "cuts.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))


def _common_voice(folder: Path) -> None:
    columns = (
        "client_id path sentence_id sentence up_votes down_votes age gender accents variant locale segment".split()
    )
    language = folder / "cv-corpus-23.0/uz"
    tables: dict[str, list[str]] = {name: ["\t".join(columns)] for name in ("train", "dev", "test", "validated")}
    for index, clip in enumerate(CLIPS):
        name = _wav(clip, language / f"clips/{index}.wav").name
        row = "\t".join([f"{index % 3}" * 64, name, "s", clip.text, "2", "0", "", "", "", "", "uz", ""])
        tables["train" if index < 8 else "dev" if index < 10 else "test"].append(row)
        tables["validated"].append(row)
    for name, lines in tables.items():
        (language / f"{name}.tsv").write_text("\n".join(lines) + "\n", "utf-8")


def _spontaneous(folder: Path) -> None:
    columns = "client_id audio_id audio_file duration_ms prompt_id prompt transcription votes gender language split"
    lines = ["\t".join(columns.split())]
    for index, clip in enumerate(CLIPS):
        name = _wav(clip, folder / f"audios/spontaneous-speech-uz-{index}.wav").name
        split = "train" if index < 8 else "dev" if index < 10 else "test"
        lines.append("\t".join([clip.speaker, "1", name, "1000", "1", "Nima?", clip.text, "0", "", "uz", split]))
    lines.append("\t".join(["x", "1", "none.wav", "1000", "1", "Nima?", "", "0", "", "uz", ""]))
    (folder / "ss-corpus-uz.tsv").write_text("\n".join(lines) + "\n", "utf-8")


def _fleurs(folder: Path) -> None:
    data = folder / "data/uz_uz"
    for split, part in (("train", CLIPS[:8]), ("dev", CLIPS[8:10]), ("test", CLIPS[10:])):
        lines = []
        for index, clip in enumerate(part):
            name = _wav(clip, data / f"audio/{split}/{index}.wav").name
            lines.append("\t".join(["1", name, clip.text, clip.text, " ".join(clip.text), "16000", "MALE"]))
        (data / f"{split}.tsv").write_text("\n".join(lines) + "\n", "utf-8")


def _parquet(splits: bool) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        parts = (("train", CLIPS[:8]), ("test", CLIPS[8:])) if splits else (("data", CLIPS),)
        for name, part in parts:
            audio = [{"bytes": clip.path.read_bytes(), "path": clip.path.name} for clip in part]
            table = {"audio": audio, "sentence": [clip.text for clip in part]}
            table["speaker_id"] = [clip.speaker for clip in part]
            pq.write_table(pa.table(table), folder / f"{name}-00000-of-00001.parquet")

    return write


def _webdataset(folder: Path) -> None:
    with tarfile.open(folder / "shard-000000.tar", "w") as tar:
        for index, clip in enumerate(CLIPS):
            values = {"speaker": clip.speaker, "text": clip.text}
            for name, content in (
                (f"{index:06d}.ogg", clip.path.read_bytes()),
                (f"{index:06d}.json", json.dumps(values).encode()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _open_document(folder: Path) -> None:
    write_ods(folder / "Táboa.ods", [HEADER, *_rows(folder)])


def _spreadsheet(folder: Path) -> None:
    write_xlsx(folder / "Táboa.xlsx", [HEADER, *_rows(folder)])


def write_xlsx(path: Path, rows: list[list[str]], cell: str = "") -> Path:
    """Write a spreadsheet of text cells, and optionally a cell at another place."""
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = "".join(
            f'<c r="{"ABCDEFGHIJ"[column]}{number}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
            for column, value in enumerate(row)
        )
        lines.append(f'<row r="{number}">{cells}</row>')
    if cell:
        lines.append(f'<row r="1048576"><c r="{cell}" t="inlineStr"><is><t>x</t></is></c></row>')
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    files = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml"'
        ' ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1"'
        f' Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="Folla 1" sheetId="1"'
        ' r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1"'
        f' Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
    }
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_ods(path: Path, rows: list[list[str]], repeated: int = 1) -> Path:
    """Write an OpenDocument spreadsheet of text cells; the last row is repeated."""
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = "".join(
            '<table:table-cell office:value-type="string"'
            + (f' table:number-columns-repeated="{min(repeated, 16384)}"' if number == len(rows) else "")
            + f"><text:p>{escape(value)}</text:p></table:table-cell>"
            for value in row
        )
        times = f' table:number-rows-repeated="{repeated}"' if number == len(rows) else ""
        lines.append(f"<table:table-row{times}>{cells}</table:table-row>")
    names = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content{names} office:version="1.2"><office:body>'
        f'<office:spreadsheet><table:table table:name="Folla">{"".join(lines)}</table:table></office:spreadsheet>'
        "</office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    manifest = (
        '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/></manifest:manifest>'
    )
    with ZipFile(path, "w") as archive:
        archive.writestr("mimetype", kind)
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", manifest)
    return path


class Talk(NamedTuple):
    """Store two long recordings with the times of their segments, as `(recording, start, end, clip)`."""

    segments: list[tuple[str, float, float, Clip]]


def _talk(folder: Path) -> Talk:
    segments = []
    for number in range(2):
        samples, place = [], 0
        for clip in CLIPS[number::2]:
            audio, rate = soundfile.read(clip.path)
            segments.append((f"talk{number}", place / rate, (place + len(audio)) / rate, clip))
            samples += [audio, np.zeros(rate)]
            place += len(audio) + rate
        soundfile.write(folder / f"talk{number}.wav", np.concatenate(samples), rate)
    return Talk(segments)


def _elan(folder: Path) -> None:
    talk = _talk(folder)
    for name in ("talk0", "talk1"):
        own = [each for each in talk.segments if each[0] == name]
        slots, tiers = [], dict[str, list[str]]()
        for index, (_, start, end, clip) in enumerate(own):
            for end_of, time in ((1, start), (2, end)):
                slots.append(f'<TIME_SLOT TIME_SLOT_ID="t{index}-{end_of}" TIME_VALUE="{round(1000 * time)}"/>')
            tiers.setdefault(clip.speaker, []).append(
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{index}" TIME_SLOT_REF1="t{index}-1"'
                f' TIME_SLOT_REF2="t{index}-2"><ANNOTATION_VALUE>{escape(clip.text)}</ANNOTATION_VALUE>'
                "</ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        body = "".join(
            f'<TIER TIER_ID="utterance@{speaker}" LINGUISTIC_TYPE_REF="utterance">{"".join(annotations)}</TIER>'
            f'<TIER TIER_ID="note@{speaker}" LINGUISTIC_TYPE_REF="note">{annotations[0].replace("a", "n", 0)}</TIER>'
            for speaker, annotations in tiers.items()
        )
        (folder / f"{name}.eaf").write_text(
            '<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT><HEADER><MEDIA_DESCRIPTOR'
            f' MEDIA_URL="file:///home/x/{name}.wav"/></HEADER><TIME_ORDER>{"".join(slots)}</TIME_ORDER>{body}'
            "</ANNOTATION_DOCUMENT>",
            "utf-8",
        )


def _textgrid(folder: Path) -> None:
    talk = _talk(folder)
    for name in ("talk0", "talk1"):
        lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "0", "99", "<exists>", "3"]
        own = [each for each in talk.segments if each[0] == name]
        for speaker in sorted({clip.speaker for clip in CLIPS}):
            intervals = [each for each in own if each[3].speaker == speaker]
            lines += ['"IntervalTier"', f'"utterance@{speaker}"', "0", "99", str(len(intervals))]
            for _, start, end, clip in intervals:
                lines += [str(start), str(end), f'"{clip.text}"']
        (folder / f"{name}.TextGrid").write_bytes("\n".join(lines).encode("utf-16"))


def _subtitles(ending: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        talk = _talk(folder)
        for name in ("talk0", "talk1"):
            lines = ["WEBVTT", ""] if ending == ".vtt" else []
            for index, (_, start, end, clip) in enumerate(each for each in talk.segments if each[0] == name):
                times = (f"00:00:{time:06.3f}".replace(".", "." if ending == ".vtt" else ",") for time in (start, end))
                lines += [str(index + 1), " --> ".join(times), clip.text, ""]
            (folder / f"{name}{ending}").write_text("\n".join(lines), "utf-8")

    return write


def _labels(folder: Path) -> None:
    talk = _talk(folder)
    for name in ("talk0", "talk1"):
        own = [each for each in talk.segments if each[0] == name]
        lines = [f"{start:.6f}\t{end:.6f}\t{clip.text}" for _, start, end, clip in own]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", "utf-8")


def _label_studio(folder: Path) -> None:
    talk = _talk(folder)
    tasks = []
    for name in ("talk0", "talk1"):
        result = []
        for index, (recording, start, end, clip) in enumerate(talk.segments):
            if recording == name:
                value = {"start": start, "end": end}
                result += [
                    {"id": f"r{index}", "type": "labels", "value": {**value, "labels": [clip.speaker]}},
                    {"id": f"r{index}", "type": "textarea", "value": {**value, "text": [clip.text]}},
                ]
        data = {"audio": f"/data/upload/1/{name}.wav"}
        tasks.append({"id": 1, "annotations": [{"result": result}], "data": data})
    (folder / "export.json").write_text(json.dumps(tasks), "utf-8")


def _stm(folder: Path) -> None:
    lines = [f"{name} 1 {clip.speaker} {start} {end} {clip.text}" for name, start, end, clip in _talk(folder).segments]
    (folder / "all.stm").write_text("\n".join(lines) + "\n", "utf-8")


def _ctm(folder: Path) -> None:
    lines = []
    for name, start, end, clip in _talk(folder).segments:
        words = clip.text.split()
        step = (end - start) / len(words)
        lines += [f"{name} 1 {start + index * step:.4f} {step:.4f} {word}" for index, word in enumerate(words)]
    (folder / "all.ctm").write_text("\n".join(lines) + "\n", "utf-8")


# The function that writes each layout, and the number of speakers that it names.
LAYOUTS: dict[str, tuple[Callable[[Path], None], int]] = {
    "csv": (_table(",", "utf-8"), 3),
    "semicolon, BOM": (_table(";", "utf-8-sig"), 3),
    "tab, UTF-16": (_table("\t", "utf-16", ending="txt"), 3),
    "pipe, cp1252": (_table("|", "cp1252"), 3),
    "backslashes": (_table(";", "utf-8", backslashes=True), 3),
    "LJSpeech": (_ljspeech, 0),
    "json": (_objects(False), 3),
    "jsonl": (_objects(True), 3),
    "xlsx": (_spreadsheet, 3),
    "ods": (_open_document, 3),
    "NeMo": (_nemo, 0),
    "audiofolder": (_audiofolder, 0),
    "txt": (_texts(".txt"), 0),
    "lab elsewhere": (_texts(".lab", "labels"), 0),
    "LibriSpeech": (_librispeech, 3),
    "Kaldi": (_kaldi, 3),
    "lhotse": (_lhotse, 3),
    "Common Voice": (_common_voice, 0),
    "spontaneous": (_spontaneous, 3),
    "FLEURS": (_fleurs, 0),
    "parquet": (_parquet(False), 3),
    "parquet with splits": (_parquet(True), 0),
    "WebDataset": (_webdataset, 3),
    "ELAN": (_elan, 3),
    "TextGrid": (_textgrid, 3),
    "srt": (_subtitles(".srt"), 0),
    "vtt": (_subtitles(".vtt"), 0),
    "Audacity": (_labels, 0),
    "Label Studio": (_label_studio, 3),
    "STM": (_stm, 3),
    "CTM": (_ctm, 0),
}


def write_layout(name: str, folder: Path) -> Path:
    """Write a layout into a folder, which is made."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    LAYOUTS[name][0](folder)
    return folder
