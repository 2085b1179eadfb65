"""What can be known before training starts, so that hours of it do not end in a refusal."""

from huggingface_hub import HfApi, ModelCard

from cards.base import require_base
from cards.metadata import metadata
from cards.vocabulary import check
from escoita.errors import PublishError
from escoita.hub.access import clear_refusals, require_write
from escoita.hub.patience import patiently
from escoita.recipe import Recipe


def preflight(recipe: Recipe) -> None:
    """
    Checks token, repository, write permission, base and the card's metadata against the Hub.

    Args:
        recipe ([`Recipe`]): About to be trained and published.

    Raises:
        PublishError: Says in one line what is missing.
    """
    api = HfApi()
    repo = require_write(api, recipe.hub.repo)
    base, _ = require_base(api, recipe, repo)
    validate_card(f"---\n{metadata(recipe, None, base)}\n---\n")


def validate_card(content: str) -> None:
    """
    Checks a card's metadata against the Hub's lists, and asks the Hub whether it accepts it.

    Raises:
        PublishError: It does not, or a value is on no list; says why.
    """
    with clear_refusals("card"):
        try:
            card = ModelCard(content)
            check(card.data)
            patiently("card", known=False)(card.validate)
        except ValueError as error:
            raise PublishError(f"card: the Hub refuses its metadata ({' '.join(str(error).split())})") from error
