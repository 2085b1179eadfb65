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
class Assumptions:
    """
    Hold the assumptions of an estimate, each of which a record can replace.

    Args:
        trained_hours_per_hour (`float`): The hours of audio that a GPU trains on per hour, which are
            `pace.audio_hours_per_hour` in `training.json`.
        transcribed_hours_per_hour (`float`): The hours of audio that a GPU transcribes per hour, which are `rtfx` in
            `results.json`.
        usd_per_hour (`float`): The price of one GPU; `escoita jobs … --dry-run` requests it from the Hub.
        node_efficiency (`float`): The training speed of eight GPUs of a node, as a fraction of eight times that of
            one.
        cluster_efficiency (`float`): The training speed of several nodes, as a fraction of the linear speed.
    """

    trained_hours_per_hour: float = 30.0
    transcribed_hours_per_hour: float = 100.0
    usd_per_hour: float = 2.5
    node_efficiency: float = 0.9
    cluster_efficiency: float = 0.8


@dataclass(frozen=True)
class Cost:
    """
    Hold the time and the price of a job.

    Args:
        hours (`float`): The elapsed time in hours.
        usd (`float`): The price of all GPUs together in US dollars.
    """

    hours: float
    usd: float


GPUS = (1, 8, 64)
ASSUMED = Assumptions()


def training(audio_hours: float, gpus: int, assumed: Assumptions = ASSUMED) -> Cost:
    """
    Return the cost of a training epoch.

    Args:
        audio_hours (`float`): The duration of the corpus in hours.
        gpus (`int`): The number of GPUs; more than eight are several nodes.
        assumed ([`Assumptions`], *optional*): The speeds and prices.
    """
    efficiency = 1.0 if gpus == 1 else assumed.node_efficiency if gpus <= 8 else assumed.cluster_efficiency
    return _cost(audio_hours / (assumed.trained_hours_per_hour * gpus * efficiency), gpus, assumed)


def transcription(audio_hours: float, gpus: int, assumed: Assumptions = ASSUMED) -> Cost:
    """
    Return the cost of the transcription by one system, in independent shards.

    Args:
        audio_hours (`float`): The duration of the test corpora in hours.
        gpus (`int`): The number of GPUs, one per shard.
        assumed ([`Assumptions`], *optional*): The speeds and prices.
    """
    return _cost(audio_hours / (assumed.transcribed_hours_per_hour * gpus), gpus, assumed)


def table(corpora: Sequence[tuple[str, float]], assumed: Assumptions = ASSUMED) -> str:
    """
    Return the table of docs/scale.md.

    Args:
        corpora (`Sequence[tuple[str, float]]`): The names of corpora, and their hours of audio.
        assumed ([`Assumptions`], *optional*): The speeds and prices.
    """
    lines = ["| | GPUs | an epoch | | transcription | |", "|---|---:|---:|---:|---:|---:|"]
    for name, hours in corpora:
        for gpus in GPUS:
            trained, transcribed = training(hours, gpus, assumed), transcription(hours, gpus, assumed)
            cells = (
                *(_hours(trained.hours), f"{trained.usd:,.0f} USD"),
                *(_hours(transcribed.hours), f"{transcribed.usd:,.0f} USD"),
            )
            lines.append(f"| {name} | {gpus} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cost(hours: float, gpus: int, assumed: Assumptions) -> Cost:
    return Cost(hours, hours * gpus * assumed.usd_per_hour)


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours < 100 else f"{hours / 24:,.0f} days"


_UNITS_PER_HOUR = {"second": 3600, "minute": 60, "hour": 1, "day": 1 / 24}


@dataclass(frozen=True)
class Hardware:
    """
    Hold the hardware of a job.

    Args:
        flavor (`str`): The name.
        description (`str`): The description by the Hub; empty if the Hub is not available.
        gpus (`int`): The number of accelerators.
        usd_per_hour (`float`, *optional*): The price in US dollars per hour; `None` if it is not known.
        price_source (`str`): The source of the price.
    """

    flavor: str
    description: str
    gpus: int
    usd_per_hour: float | None
    price_source: str


def hardware(api: "HfApi", flavor: str, price: float | None = None) -> Hardware:
    """
    Request a flavor and its price from the Hub.

    Args:
        api (`HfApi`): The client.
        flavor (`str`): The name of the flavor, such as `a100-large`.
        price (`float`, *optional*): The price in US dollars per hour, which replaces that of the Hub.

    Raises:
        EscoitaError: The flavor is unknown, or the Hub is not available and no price was given.
    """
    from escoita.hub.failures import HubError, explain_hub_errors

    try:
        with explain_hub_errors(flavor):
            offered = {each.name: each for each in api.list_jobs_hardware()}
    except HubError as error:
        if price is None:
            raise EscoitaError(
                f"the hardware list of the Hub is not available ({error.problem})",
                key="--flavor",
                value=flavor,
                hint="give --price, in US dollars per hour",
            ) from error
        return Hardware(flavor, "", 1, price, "--price")
    if flavor not in offered:
        hint = f"use one of {', '.join(offered)}"
        raise EscoitaError("not found on the Hub", key="--flavor", value=flavor, hint=hint)
    found = offered[flavor]
    gpus = int(found.accelerator.quantity) if found.accelerator else 1
    if price is not None:
        return Hardware(flavor, _description(found), gpus, price, "--price")
    factor = _UNITS_PER_HOUR.get(found.unit_label)
    return Hardware(flavor, _description(found), gpus, factor and factor * found.unit_cost_usd, "the Hub")


def estimate(on: Hardware, max_seconds: int, hours: float | None, run: Path) -> list[str]:
    """
    Return lines with times and prices.

    Args:
        on ([`Hardware`]): The hardware and its price.
        max_seconds (`int`): The time limit of the job in seconds.
        hours (`float`, *optional*): The duration that the user expects, in hours.
        run (`Path`): The run directory of the recipe, whose record may hold the duration of the same training.
    """
    limit = max_seconds / 3600
    lines = [_line(f"at most {limit:g} h", limit, on)]
    if hours:
        lines.append(_line(f"{hours:g} h (--hours)", hours, on))
    try:
        record = TrainingRecord.read(run / "training.json")
    except RecordError:
        return lines
    recorded = record.train_seconds / 3600
    source = f"{recorded:.2g} h of steps ({run / 'training.json'}, {record.device})"
    return [*lines, _line(source, recorded, on)]


def _line(label: str, hours: float, on: Hardware) -> str:
    if on.usd_per_hour is None:
        return f"{label}: price unknown; give --price"
    return f"{label}: {hours * on.usd_per_hour:.2f} USD, at {on.usd_per_hour:.2f} USD per hour ({on.price_source})"


def _description(found: "JobHardwareInfo") -> str:
    card = found.accelerator
    gpu = f", {card.quantity} x {card.manufacturer} {card.model}, {card.vram}" if card else ""
    return f"{found.pretty_name}: {found.cpu}, {found.ram}{gpu}"
