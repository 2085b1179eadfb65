"""Find secrets, and paths and names of a machine, in a text that is about to be published."""

import getpass
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from kingfisher_sdk import Scanner


# Some rules take any such value after the name of a service for its key. Records are full of digests and commits.
_DIGEST = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}")


def rule_matches(text: str) -> Iterator[tuple[str, int, int]]:
    """
    Yield the matches of the rules of high confidence: the name of the rule, and start and end of the secret.

    Args:
        text (`str`): Any text, of any length.
    """
    data = text.encode("utf-8", "replace")
    for finding in _scanner().scan(data):
        if finding.visible and not _DIGEST.fullmatch(finding.secret):
            name = finding.rule_id.rsplit("/", 1)[-1].removeprefix("betterleaks.")
            first, last = finding.location["start_offset"], finding.location["end_offset"]
            start = len(data[:first].decode("utf-8", "replace"))
            yield re.sub(r"\.\d+$", "", name), start, start + len(data[first:last].decode("utf-8", "replace"))


@cache
def _scanner() -> "Scanner":
    """Load the rules from the cache, or compile them, which takes seconds."""
    from kingfisher_sdk import Rules, Scanner

    from escoita.utils.files import cache_folder

    return Scanner(Rules(confidence="high", cache_dir=str(cache_folder() / "secret-rules")))


# Tokens that begin with a prefix of their service. The lengths are lower bounds, as services change them. The
# rule set of Kingfisher (`escoita.hub.secrets`) knows the exact forms of many more services.
# By name: the expression, and literals. A text that matches the expression contains at least one of the literals.
_TOKENS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Hugging Face Token": (
        r"hf_[A-Za-z0-9]{30,}|hf_(?:oauth|jwt)_[A-Za-z0-9_.-]{30,}|api_org_[A-Za-z0-9]{30,}",
        ("hf_", "api_org_"),
    ),
    # Exactly 20 characters: four of its beginnings occur by chance in long base64 texts and in sequences of DNA.
    "AWS Access Key": (
        r"(?<![A-Za-z0-9+/])(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9+/])",
        ("A3T", "ABIA", "ACCA", "AKIA", "ASIA"),
    ),
    "Anthropic Key": (r"sk-ant-[A-Za-z0-9_-]{20,}", ("sk-ant-",)),
    "Azure Storage Account access key": (r"AccountKey=[A-Za-z0-9+/=]{88}", ("AccountKey=",)),
    "DigitalOcean Token": (r"do[opr]_v1_[A-Fa-f0-9]{40,}", ("_v1_",)),
    "GitHub Token": (
        r"gh[oprsu]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}",
        ("gho_", "ghp_", "ghr_", "ghs_", "ghu_", "github_pat_"),
    ),
    "GitLab Token": (r"gl(?:agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|soat)-[A-Za-z0-9_-]{20,}", ("gl",)),
    "Google API Key": (r"AIza[A-Za-z0-9_-]{35}", ("AIza",)),
    "Groq Key": (r"gsk_[A-Za-z0-9]{40,}", ("gsk_",)),
    "JSON Web Token": (
        r"eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,9000}\.[A-Za-z0-9_-]{10,}",
        (".eyJ",),
    ),
    "Kaggle Key": (r"KGAT_[A-Za-z0-9]{32,}", ("KGAT_",)),
    "NPM Token": (r"npm_[A-Za-z0-9]{36,}", ("npm_",)),
    "NVIDIA Key": (r"nvapi-[A-Za-z0-9_-]{40,}", ("nvapi-",)),
    "OpenAI Token": (
        r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9_-]{0,80}T3BlbkFJ[A-Za-z0-9_-]{20,}",
        ("sk-proj-", "sk-svcacct-", "sk-admin-", "T3BlbkFJ"),
    ),
    "OpenRouter Key": (r"sk-or-[A-Za-z0-9_-]{32,}", ("sk-or-",)),
    "PyPI Token": (r"pypi-AgE[A-Za-z0-9_-]{50,}", ("pypi-AgE",)),
    "Replicate Token": (r"r8_[A-Za-z0-9]{36,}", ("r8_",)),
    "SendGrid API Key": (r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}", ("SG.",)),
    "Slack Token": (r"xox[abeoprs]-(?:\d+-)+[A-Za-z0-9]{8,}", ("xox",)),
    "Stripe Access Key": (r"[rs]k_live_[A-Za-z0-9]{24,}", ("k_live_",)),
    "Weights & Biases Key": (r"wandb_v\d_[A-Za-z0-9_]{30,}", ("wandb_v",)),
}
# Secrets that are recognized only by the text around them.
_IN_CONTEXT: dict[str, tuple[str, tuple[str, ...]]] = {
    "Basic Auth Credentials": (
        r"://[^\s:/?#\[\]@!$&'()*+,;=]+:[^\s:/?#\[\]@!$&'()*+,;=]+@",
        ("://",),
    ),
    "Kaggle Key": (
        r"\"username\"\s*:\s*\"[^\"]*\"\s*,\s*\"key\"\s*:\s*\"[0-9a-f]{32}\"|"
        r"(?i:kaggle_key)[\"'=: ]{1,5}[0-9a-f]{32}(?![0-9a-f])",
        ("username", "kaggle_key", "KAGGLE_KEY", "Kaggle_Key"),
    ),
    "Login of a .netrc file": (r"machine\s+\S+\s+login\s+\S+\s+password\s+\S{8,}", ("machine",)),
    "Private Key": (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY", ("-----BEGIN ",)),
    "Slack Webhook": (r"hooks\.slack\.com/services/T\w{6,}/B\w{6,}/\w{16,}", ("hooks.slack.com",)),
    "Weights & Biases Key": (r"(?i:wandb).{0,20}[\"'=: ][0-9a-f]{40}(?![0-9a-f])", ("wandb", "WANDB", "Wandb")),
}
# A path does not begin within an address or another path. Among addresses, only file: addresses are paths.
_BEGINS = r"(?<![\w/\\:-])(?:file:(?://)?)?"
_FOLDERS = (
    "home Users root mnt media scratch Volumes workspace workspaces kaggle content/drive".split(),
    "data opt srv nfs nas gpfs lustre users projects work".split(),
    "tmp var/tmp var/folders private/var".split(),
)
_MACHINE_PATHS = (
    *((rf"/(?:{'|'.join(each)})/[^/\s\"'<>]", tuple(f"/{name}/" for name in each)) for each in _FOLDERS),
    (r"(?<=file:)/{1,3}\w", ("file:/",)),
    (
        r"[A-Za-z]:(?:\\{1,2}|/)(?:Users|Documents and Settings)(?:\\{1,2}|/)[^/\\\s\"'<>]",
        ("Users", "Documents and Settings"),
    ),
)
# A whole value of JSON or YAML.
_STEPS = r"/(?:[\w.+@-][\w.+@ -]*/)+[\w.+@ -]*"
_ABSOLUTE_VALUE = (
    rf"(?<=[\"']){_STEPS}(?=[\"'])|(?<=[:-] ){_STEPS}$"
    # JSON writes a backslash twice.
    r"|(?<=[\"'])[A-Za-z]:(?:\\\\|/)\w|(?:(?<=')|(?<=[:-] ))[A-Za-z]:[\\/]\w"
)
# Any path in a transcript; begins like those above.
TRANSCRIPT_PATH = re.compile(_BEGINS + r"(?:/|[A-Za-z]:[\\/])[^/\\\s]")
# Suffixes of pickles, which can run code, and of formats that may contain one.
PICKLES = {".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
# User names that do not identify a person.
_NOBODY = {"root", "user", "ubuntu", "runner", "admin", "docker", "jovyan", "vscode", "nobody", "app"}


@dataclass(frozen=True)
class Forbidden:
    """
    Describe a kind of content that must not be published.

    Args:
        kind (`str`): Name of the kind in messages.
        expression (`re.Pattern`): Expression that finds it.
        in_addresses (`bool`, *optional*, defaults to `False`): Whether web addresses are searched too.
        in_vocabularies (`bool`, *optional*, defaults to `False`): Whether vocabularies of tokenizers are searched too.
        in_values (`bool`, *optional*, defaults to `False`): Whether only whole values of JSON or YAML are matches.
        hints (`tuple[str, ...]`, *optional*): Literals that are fast to search; a text without them has no match.
        may_be_split (`bool`, *optional*, defaults to `False`): Whether a line break may split it.
    """

    kind: str
    expression: re.Pattern[str]
    in_addresses: bool = False
    in_vocabularies: bool = False
    in_values: bool = False
    hints: tuple[str, ...] = ()
    may_be_split: bool = False

    def found_in(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the matches in a text."""
        if not self.hints or any(hint in text for hint in self.hints):
            yield from self.expression.finditer(text)

    @property
    def is_secret(self) -> bool:
        """Return whether it grants access, so that it is not allowed in transcripts either."""
        return self.in_addresses

    @property
    def allowed_in_transcripts(self) -> bool:
        """Return whether a transcript may contain it: a path that does not name this user."""
        return not self.in_addresses and not self.in_vocabularies


def secrets() -> list[Forbidden]:
    """
    Return the secrets that are recognized by their form. Rules based on entropy, or on a word such as "key" before the
    secret, are left out, because they also match digests.
    """
    known = [(kind, *each, True) for kind, each in _TOKENS.items()]
    known += [(kind, *each, False) for kind, each in _IN_CONTEXT.items()]
    return [
        Forbidden(f"a secret ({kind})", re.compile(expression), True, True, hints=hints, may_be_split=may_be_split)
        for kind, expression, hints, may_be_split in known
    ]


def paths() -> list[Forbidden]:
    """Return the paths of machines, and the folders and the name of the user of this one."""
    found = [Forbidden("an absolute path", re.compile(_BEGINS + path), hints=hints) for path, hints in _MACHINE_PATHS]
    found.append(Forbidden("an absolute path", re.compile(_ABSOLUTE_VALUE, re.MULTILINE), in_values=True))
    own = {"the home folder of this user": Path.home(), "the current folder": Path.cwd()}
    for kind, folder in own.items():
        for path in sorted({str(folder), str(folder.resolve())} - {folder.anchor}):
            # JSON writes a backslash twice.
            escaped = re.escape(path).replace(r"\\", r"\\{1,2}")
            expression = re.compile(rf"{_BEGINS}{escaped}(?![\w.-])")
            hints = (Path(path).name,)
            found.append(Forbidden(kind, expression, in_vocabularies=len(Path(path).parts) > 2, hints=hints))
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container in which the user has no name
        return found
    if user.lower() not in _NOBODY:
        part = re.compile(rf"(?<!datasets)(?<!spaces)(?<!models)[/\\]{re.escape(user)}(?=[/\\])")
        found.append(Forbidden("the name of this user in a path", part, hints=(user,)))
    return found


# Separator of unrelated texts, such as the rows of a table. No reading removes it.
BETWEEN = "\n\x01\n"
# Characters that are not displayed (Unicode's Default_Ignorable_Code_Point); NUL, which UTF-16 has next to every ASCII
# letter; and surrogates, which escapes of two units leave.
_INVISIBLE = re.compile(
    "[\0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]+"
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([/\"'\\nrt]))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
# Levels of nested JSON.
_MOST_ESCAPES = 3
_LINE_BREAK = re.compile("[\n\r\v\f\x85\u2028\u2029]")
# Characters next to a line break within one string: indentation, a backslash, quotes around parts of a string, the
# prefix of a quotation or comment.
_BEFORE_BREAK = " \t\\\"'+"
_AFTER_BREAK = re.compile("[\\s>#\"'+]*")
_TOKEN_CHARACTER = re.compile(r"[A-Za-z0-9_.-]")


@dataclass(frozen=True)
class Reading:
    """
    Hold a text from which characters were removed, with the original position of each character.

    Args:
        text (`str`): The text.
        starts (`list[int]`, *optional*): Positions in the text at which a new stretch of the previous text begins.
        origins (`list[int]`, *optional*): Positions of the same characters in the previous text.
        before (`Reading`, *optional*): The previous text; None for the original one.
    """

    text: str
    starts: list[int] = field(default_factory=lambda: [0])
    origins: list[int] = field(default_factory=lambda: [0])
    before: "Reading | None" = None

    def origin(self, position: int) -> int:
        """Return the position of a character in the original text."""
        if self.before is None:
            return position
        index = bisect_right(self.starts, position) - 1
        return self.before.origin(self.origins[index] + position - self.starts[index])

    def changes_within(self, start: int, end: int) -> int:
        """Return the number of places between two positions at which characters were removed."""
        return bisect_left(self.starts, end) - bisect_right(self.starts, start)

    def replaced(self, changes: Iterator[tuple[int, int, str]]) -> "Reading":
        """Return the text with replacements, each given as start, end and new text."""
        parts, starts, origins, length, last = [], [0], [0], 0, 0
        for start, end, replacement in changes:
            part = self.text[last:start] + replacement
            parts.append(part)
            length, last = length + len(part), end
            starts.append(length)
            origins.append(end)
        if not parts:
            return self
        return Reading("".join([*parts, self.text[last:]]), starts, origins, self)


def readings(text: str) -> Iterator[Reading]:
    """Yield a text as it is written, and, if they differ, without escapes and invisible characters."""
    yield (written := Reading(text))
    plain = _without_invisible(written)
    for _ in range(_MOST_ESCAPES):
        unescaped = plain.replaced(_escapes(plain.text))
        if unescaped is plain:
            break
        plain = _without_invisible(unescaped)
    if plain is not written:
        yield plain


def joined(reading: Reading) -> Reading | None:
    """Return a text without the line breaks that may split a token, or None if there are no such breaks."""
    found = reading.replaced(_breaks(reading.text))
    return None if found is reading else found


def _without_invisible(reading: Reading) -> Reading:
    if reading.text.isascii() and "\0" not in reading.text:
        return reading
    return reading.replaced((*found.span(), "") for found in _INVISIBLE.finditer(reading.text))


def _escapes(text: str) -> Iterator[tuple[int, int, str]]:
    if "\\" in text:
        for found in _ESCAPE.finditer(text):
            four, two, one = found.groups()
            yield *found.span(), _ESCAPED.get(one, one) if one else chr(int(four or two, 16))


def _breaks(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the line breaks between two characters that a token may contain, with the characters around the break."""
    last = 0
    for found in _LINE_BREAK.finditer(text):
        start = found.start()
        if start < last:
            continue
        while start > last and text[start - 1] in _BEFORE_BREAK:
            start -= 1
        around = _AFTER_BREAK.match(text, found.end())
        end = around.end() if around else found.end()
        if start and _TOKEN_CHARACTER.match(text, start - 1) and _TOKEN_CHARACTER.match(text, end):
            yield start, end, ""
        last = end
