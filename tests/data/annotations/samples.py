"""Write annotation files of all formats for tests."""

from pathlib import Path


EAF = """\
<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-11-28T00:00:00+00:00" FORMAT="3.0" VERSION="3.0"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/x/talk.wav" MIME_TYPE="audio/x-wav" RELATIVE_MEDIA_URL="../../talk.wav"/>
</HEADER>
<TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="ts2"/>
<TIME_SLOT TIME_SLOT_ID="ts3"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="1800"/>
<TIME_SLOT TIME_SLOT_ID="ts5" TIME_VALUE="1500"/><TIME_SLOT TIME_SLOT_ID="ts6" TIME_VALUE="2500"/>
</TIME_ORDER>
<TIER TIER_ID="tx@Ana" LINGUISTIC_TYPE_REF="utt">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>bo  día</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
<ANNOTATION_VALUE></ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
<ANNOTATION_VALUE>ata mañá</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
</TIER>
<TIER TIER_ID="B" PARTICIPANT="Brais" LINGUISTIC_TYPE_REF="utt">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="b1" TIME_SLOT_REF1="ts5" TIME_SLOT_REF2="ts6">
<ANNOTATION_VALUE>ola &amp; que tal</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
</TIER>
<TIER TIER_ID="words" PARENT_REF="B" LINGUISTIC_TYPE_REF="w">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="w1" ANNOTATION_REF="b1">
<ANNOTATION_VALUE>ola</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="w2" ANNOTATION_REF="b1" PREVIOUS_ANNOTATION="w1">
<ANNOTATION_VALUE>tal</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
</TIER>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="utt" TIME_ALIGNABLE="true" GRAPHIC_REFERENCES="false"/>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="w" CONSTRAINTS="Symbolic_Subdivision" TIME_ALIGNABLE="false"/>
</ANNOTATION_DOCUMENT>
"""
LONG = """\
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "Ana_transcription"
        xmin = 0
        xmax = 3
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 1.25
            text = "bo ""día"" item [2]: 7"
        intervals [2]:
            xmin = 1.25
            xmax = 3
            text = ""
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 3
        points: size = 1
        points [1]:
            number = 0.5
            mark = "!"
"""
SHORT = """\
File type = "ooTextFile short"
"TextGrid"

0
3
<exists>
2
"IntervalTier"
"Ana_transcription"
0
3
2
0
1.25
"bo ""día"" item [2]: 7"
1.25
3
""
"TextTier"
"clicks"
0
3
1
0.5
"!"
""".replace("ooTextFile short", "ooTextFile")
SRT = "1\n00:00:01,000 --> 00:00:02,500\n<i>bo</i> día\na todos\n\n2\n00:00:03,000 --> 00:00:04,000\n{\\an8}25\n"
VTT = (
    "WEBVTT - talk\n\nNOTE a comment\n\nintro\n00:01.000 --> 00:02.500 align:start\n<v Ana María>bo día &amp; ata\n\n"
    "NOTE not text\n\n00:00:03.000 --> 00:00:04.000\n<c.yellow>mañá</c>\n"
)
LABELS = "1,000000\t2.5\tbo día\n\\\t100.0\t8000.0\n3.000000\t4.000000\t\n"
STUDIO = (
    '[{"id": 1, "file_upload": "x-talk.wav", "data": {"audio": "/data/upload/1/x-talk.wav?d=1"}, "annotations": ['
    '{"was_cancelled": true, "result": []}, {"result": ['
    '{"id": "r", "type": "labels", "value": {"start": 1, "end": 2.5, "labels": ["Ana"]}},'
    '{"id": "r", "type": "textarea", "value": {"start": 1, "end": 2.5, "text": ["bo día"]}}]}]}]'
)
STUDIO_MIN = (
    '[{"annotation_id": 1, "audio": "/data/talk.wav", "label": [{"start": 1, "end": 2.5, "labels": ["Ana"]}],'
    ' "transcription": "bo día"}]'
)
STM = ";; comment\ntalk 1 ana 1.0 2.5 <o,f0,female> bo día\ntalk 1 x 2.5 3 ignore_time_segment_in_scoring\n"
CTM = ";; words\ntalk 1 1.0 0.5 bo 0.9\ntalk 1 1.6 0.9 día\ntalk 1 9.0 0.5 ata\n"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a file in an encoding, without changes of line ends."""
    path.write_bytes(text.encode(encoding))
    return path
