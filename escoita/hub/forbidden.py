"""What is searched for before anything is published: secrets, and paths and names of whoever pushes."""

import getpass
import re
from dataclasses import dataclass
from pathlib import Path


# What detect-secrets does not know: its detectors are of 2024.
_MORE_SECRETS = {
    "Hugging Face Token": r"hf_[A-Za-z0-9]{30,}|hf_(?:oauth|jwt)_[A-Za-z0-9_.-]{30,}|api_org_[A-Za-z0-9]{30,}",
    "GitHub Token": r"github_pat_[A-Za-z0-9_]{22,}",
    "Google API Key": r"AIza[0-9A-Za-z_-]{35}",
    "Anthropic Key": r"sk-ant-[A-Za-z0-9_-]{20,}",
    "JSON Web Token": r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "OpenAI Token": r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}",
    "Weights & Biases Key": r"(?i:wandb).{0,20}[\"'=: ][0-9a-f]{40}(?![0-9a-f])|wandb_v\d_[A-Za-z0-9_]{30,}",
    "Private Key": r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
}
# A path begins where no address and no other path goes on; of addresses only that of a file is a path.
_BEGINS = r"(?<![\w/\\:-])(?:file:(?://)?)?"
_MACHINE_PATHS = (
    r"/(?:home|Users|root|mnt|media|scratch|Volumes|workspaces?|kaggle|content/drive)/[^/\s\"'<>]",
    r"/(?:data|opt|srv|nfs|nas|gpfs|lustre|users|projects|work)/[^/\s\"'<>]",
    r"/(?:tmp|var/tmp|var/folders|private/var)/[^/\s\"'<>]",
    r"(?<=file:)/{1,3}\w",
    r"[A-Za-z]:(?:\\{1,2}|/)(?:Users|Documents and Settings)(?:\\{1,2}|/)[^/\\\s\"'<>]",
)
# A whole value of JSON or YAML.
_STEPS = r"/(?:[\w.+@-][\w.+@ -]*/)+[\w.+@ -]*"
_ABSOLUTE_VALUE = (
    rf"(?<=[\"']){_STEPS}(?=[\"'])|(?<=[:-] ){_STEPS}$"
    # JSON writes a backslash twice.
    r"|(?<=[\"'])[A-Za-z]:(?:\\\\|/)\w|(?:(?<=')|(?<=[:-] ))[A-Za-z]:[\\/]\w"
)
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
    """

    what: str
    expression: re.Pattern[str]
    in_addresses: bool = False
    in_vocabularies: bool = False
    in_values: bool = False


def secrets() -> list[Forbidden]:
    """
    Secrets that are known by their form: by those detectors of detect-secrets that go by it, and by a few more.
    Others guess, by how random a string looks or by a word such as "key" before it: they take digests for secrets.
    """
    from detect_secrets.plugins.aws import AWSKeyDetector
    from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
    from detect_secrets.plugins.basic_auth import BasicAuthDetector
    from detect_secrets.plugins.github_token import GitHubTokenDetector
    from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
    from detect_secrets.plugins.npm import NpmDetector
    from detect_secrets.plugins.openai import OpenAIDetector
    from detect_secrets.plugins.private_key import PrivateKeyDetector
    from detect_secrets.plugins.pypi_token import PypiTokenDetector
    from detect_secrets.plugins.sendgrid import SendGridDetector
    from detect_secrets.plugins.slack import SlackDetector
    from detect_secrets.plugins.stripe import StripeDetector

    detectors = (
        AWSKeyDetector,
        AzureStorageKeyDetector,
        BasicAuthDetector,
        GitHubTokenDetector,
        GitLabTokenDetector,
        NpmDetector,
        OpenAIDetector,
        PrivateKeyDetector,
        PypiTokenDetector,
        SendGridDetector,
        SlackDetector,
        StripeDetector,
    )
    known = [(detector.secret_type, expression) for detector in detectors for expression in detector.denylist]
    known += [(what, re.compile(expression)) for what, expression in _MORE_SECRETS.items()]
    return [Forbidden(f"a secret ({what})", expression, True, True) for what, expression in known]


def paths() -> list[Forbidden]:
    """Paths of machines, and what names who pushes from this one."""
    found = [Forbidden("an absolute path", re.compile(_BEGINS + path)) for path in _MACHINE_PATHS]
    found.append(Forbidden("an absolute path", re.compile(_ABSOLUTE_VALUE, re.MULTILINE), in_values=True))
    own = {"the home of who pushes": Path.home(), "the folder that is pushed from": Path.cwd()}
    for what, folder in own.items():
        for path in sorted({str(folder), str(folder.resolve())} - {folder.anchor}):
            # JSON writes a backslash twice.
            escaped = re.escape(path).replace(r"\\", r"\\{1,2}")
            expression = re.compile(rf"{_BEGINS}{escaped}(?![\w.-])")
            found.append(Forbidden(what, expression, in_vocabularies=len(Path(path).parts) > 2))
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # in a container in which who runs it has no name
        return found
    if user.lower() not in _NOBODY:
        part = re.compile(rf"(?<!datasets)(?<!spaces)(?<!models)[/\\]{re.escape(user)}(?=[/\\])")
        found.append(Forbidden("the user name of who pushes, in a path", part))
    return found
