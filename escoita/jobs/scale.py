"""What a training and an evaluation take on one GPU, eight, and many nodes: arithmetic, nothing measured."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Assumed:
    """
    What the arithmetic is made of; replace each by what a record of yours says.

    Args:
        trained_hours_per_hour (`float`): Hours of audio that a GPU trains on in an hour; `training.json` has it as
            `pace.audio_hours_per_hour`.
        heard_hours_per_hour (`float`): Hours of audio that a GPU transcribes in an hour; `results.json` has it as
            `rtfx`.
        usd_per_hour (`float`): Of one GPU; `escoita jobs … --dry-run` asks the Hub.
        share_of_eight (`float`): Of eight times the speed that eight GPUs of a node have in training.
        share_of_nodes (`float`): Likewise of several nodes.
    """

    trained_hours_per_hour: float = 30.0
    heard_hours_per_hour: float = 100.0
    usd_per_hour: float = 2.5
    share_of_eight: float = 0.9
    share_of_nodes: float = 0.8


@dataclass(frozen=True)
class Cost:
    """
    What a piece of work takes.

    Args:
        hours (`float`): On the clock.
        usd (`float`): Of all GPUs together.
    """

    hours: float
    usd: float


GPUS = (1, 8, 64)
ASSUMED = Assumed()


def training(audio_hours: float, gpus: int, assumed: Assumed = ASSUMED) -> Cost:
    """
    An epoch.

    Args:
        audio_hours (`float`): Of the corpus.
        gpus (`int`): That share it; over eight, several nodes.
        assumed ([`Assumed`], *optional*): Speeds and prices.
    """
    share = 1.0 if gpus == 1 else assumed.share_of_eight if gpus <= 8 else assumed.share_of_nodes
    return _cost(audio_hours / (assumed.trained_hours_per_hour * gpus * share), gpus, assumed)


def hearing(audio_hours: float, gpus: int, assumed: Assumed = ASSUMED) -> Cost:
    """
    An evaluation by one system, in shards, of which none waits for another.

    Args:
        audio_hours (`float`): Of the test corpora.
        gpus (`int`): One a shard.
        assumed ([`Assumed`], *optional*): Speeds and prices.
    """
    return _cost(audio_hours / (assumed.heard_hours_per_hour * gpus), gpus, assumed)


def table(corpora: Sequence[tuple[str, float]], assumed: Assumed = ASSUMED) -> str:
    """
    The table of docs/scale.md.

    Args:
        corpora (`Sequence[tuple[str, float]]`): What they are called, and their hours of audio.
        assumed ([`Assumed`], *optional*): Speeds and prices.
    """
    lines = ["| | GPUs | an epoch | | hearing all of it | |", "|---|---:|---:|---:|---:|---:|"]
    for name, hours in corpora:
        for gpus in GPUS:
            trained, heard = training(hours, gpus, assumed), hearing(hours, gpus, assumed)
            cells = (_hours(trained.hours), f"{trained.usd:,.0f} USD", _hours(heard.hours), f"{heard.usd:,.0f} USD")
            lines.append(f"| {name} | {gpus} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cost(hours: float, gpus: int, assumed: Assumed) -> Cost:
    return Cost(hours, hours * gpus * assumed.usd_per_hour)


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours < 100 else f"{hours / 24:,.0f} days"
