"""What is searched for before anything is published: secrets, and paths and names of whoever pushes."""

import getpass
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


# Tokens that begin with a prefix of their service. The lengths are lower bounds, as services change them. The
# rule set of Kingfisher (`escoita.hub.rules`) knows the exact forms of many more services.
# By name: the expression, and the literals of which a text contains one if the expression matches.
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
# Secrets that only their surroundings show.
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
# A path begins where no address and no other path goes on; of addresses only that of a file is a path.
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
# Any path in a transcript; begins where those above begin.
SAID_PATH = re.compile(_BEGINS + r"(?:/|[A-Za-z]:[\\/])[^/\\\s]")
# How pickles are called, in which code can hide, and what may hold one.
PICKLES = {".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
# Users of machines that nobody is known by.
_NOBODY = {"root", "user", "ubuntu", "runner", "admin", "docker", "jovyan", "vscode", "nobody", "app"}


@dataclass(frozen=True)
class Forbidden:
    """
    Something that must not be published.

    Args:
        what (`str`): As a person is told of it.
        expression (`re.Pattern`): How it is found.
        in_addresses (`bool`, *optional*, defaults to `False`): The address of a page may hold it.
        in_vocabularies (`bool`, *optional*, defaults to `False`): It is no accident among the pieces of words of a
            tokenizer either.
        in_values (`bool`, *optional*, defaults to `False`): It is one as a whole value of JSON or YAML alone.
        hints (`tuple[str, ...]`, *optional*): A text without any of them has no match. Searching for them is fast.
        may_be_split (`bool`, *optional*, defaults to `False`): A line break may split it.
    """

    what: str
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
        """Whether it grants access, so that it must not be in a transcript either."""
        return self.in_addresses

    @property
    def may_be_said(self) -> bool:
        """Whether a transcript may contain it: a path that does not name the person who pushes."""
        return not self.in_addresses and not self.in_vocabularies


def secrets() -> list[Forbidden]:
    """
    Return the secrets that are known by their form. Rules that go by how random a string looks, or by a word such as
    "key" before it, are left out: they take digests for secrets.
    """
    known = [(what, *each, True) for what, each in _TOKENS.items()]
    known += [(what, *each, False) for what, each in _IN_CONTEXT.items()]
    return [
        Forbidden(f"a secret ({what})", re.compile(expression), True, True, hints=hints, may_be_split=may_be_split)
        for what, expression, hints, may_be_split in known
    ]


def paths() -> list[Forbidden]:
    """Paths of machines, and what names who pushes from this one."""
    found = [Forbidden("an absolute path", re.compile(_BEGINS + path), hints=hints) for path, hints in _MACHINE_PATHS]
    found.append(Forbidden("an absolute path", re.compile(_ABSOLUTE_VALUE, re.MULTILINE), in_values=True))
    own = {"the home of who pushes": Path.home(), "the folder that is pushed from": Path.cwd()}
    for what, folder in own.items():
        for path in sorted({str(folder), str(folder.resolve())} - {folder.anchor}):
            # JSON writes a backslash twice.
            escaped = re.escape(path).replace(r"\\", r"\\{1,2}")
            expression = re.compile(rf"{_BEGINS}{escaped}(?![\w.-])")
            hints = (Path(path).name,)
            found.append(Forbidden(what, expression, in_vocabularies=len(Path(path).parts) > 2, hints=hints))
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # in a container in which who runs it has no name
        return found
    if user.lower() not in _NOBODY:
        part = re.compile(rf"(?<!datasets)(?<!spaces)(?<!models)[/\\]{re.escape(user)}(?=[/\\])")
        found.append(Forbidden("the user name of who pushes, in a path", part, hints=(user,)))
    return found
