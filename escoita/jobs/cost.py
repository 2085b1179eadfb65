"""Estimate what a training, an evaluation and a job cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from escoita.errors import EscoitaError, RecordError
from escoita.records.training import TrainingRecord


if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobHardwareInfo


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


_IN_AN_HOUR = {"second": 3600, "minute": 60, "hour": 1, "day": 1 / 24}


@dataclass(frozen=True)
class Hardware:
    """
    What a job would run on.

    Args:
        flavor (`str`): Its name.
        told (`str`): What the Hub says of it; empty where it was not asked.
        gpus (`int`): Accelerators.
        usd_per_hour (`float`, *optional*): Its price; none where nobody tells.
        by (`str`): Who says the price.
    """

    flavor: str
    told: str
    gpus: int
    usd_per_hour: float | None
    by: str


def hardware(api: "HfApi", flavor: str, price: float | None = None) -> Hardware:
    """
    Asks the Hub for a flavor and its price.

    Args:
        api (`HfApi`): The client.
        flavor (`str`): Such as `a100-large`.
        price (`float`, *optional*): US dollars an hour, instead of what the Hub says.

    Raises:
        EscoitaError: There is no such flavor, or the Hub tells none and no price was given.
    """
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    try:
        offered = {each.name: each for each in api.list_jobs_hardware()}
    except (HfHubHTTPError, httpx.HTTPError) as error:
        if price is None:
            raise EscoitaError(
                f"the Hub does not tell its hardware now ({type(error).__name__}): give --price, in US dollars an hour"
            ) from error
        return Hardware(flavor, "", 1, price, "--price")
    if flavor not in offered:
        raise EscoitaError(f"--flavor {flavor}: the Hub has {', '.join(offered)}")
    found = offered[flavor]
    gpus = int(found.accelerator.quantity) if found.accelerator else 1
    if price is not None:
        return Hardware(flavor, _told(found), gpus, price, "--price")
    per_hour = _IN_AN_HOUR.get(found.unit_label)
    return Hardware(flavor, _told(found), gpus, per_hour and per_hour * found.unit_cost_usd, "the Hub")


def estimate(on: Hardware, most_seconds: int, hours: float | None, run: Path) -> list[str]:
    """
    What is to be said of time and cost, a line each.

    Args:
        on ([`Hardware`]): With its price.
        most_seconds (`int`): The job ends then.
        hours (`float`, *optional*): What the user expects.
        run (`Path`): The recipe's run directory, whose record says what the same training took here.
    """
    most = most_seconds / 3600
    lines = [_line(f"at most {most:g} h", most, on), *([_line(f"{hours:g} h by --hours", hours, on)] if hours else [])]
    try:
        known = TrainingRecord.read(run / "training.json")
    except RecordError:
        return lines
    took = known.train_seconds / 3600
    return [*lines, _line(f"{took:.2g} h of steps by {run / 'training.json'}, on {known.device}", took, on)]


def _line(told: str, hours: float, on: Hardware) -> str:
    if on.usd_per_hour is None:
        return f"{told}: the Hub gives no price an hour; --price does"
    return f"{told}: {hours * on.usd_per_hour:.2f} USD, at {on.usd_per_hour:.2f} USD an hour by {on.by}"


def _told(found: "JobHardwareInfo") -> str:
    card = found.accelerator
    gpu = f", {card.quantity} x {card.manufacturer} {card.model}, {card.vram}" if card else ""
    return f"{found.pretty_name}: {found.cpu}, {found.ram}{gpu}"
