"""What a job would cost, as far as that can be known before."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from escoita.errors import EscoitaError, RecordError
from escoita.records.training import TrainingRecord


if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobHardwareInfo

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
