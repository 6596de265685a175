"""What a judge's model costs: its own price, else the table's, else nothing where nobody bills it."""

from __future__ import annotations

from urllib.parse import urlsplit

from morlaif_core.errors import UserError

from .addresses import is_loopback
from .config import Config
from .judge_settings import FREE, Price


def billed_model(config: Config, judge: str) -> str | None:
    """Return a provider's judge's name in the price table, None where nobody bills it."""
    block = config.judge_block(judge)
    bills = config.plugins.find("feedback_provider", block["use"]).bills
    return None if bills is None else bills(config.plugins.options("feedback_provider", block))


def price_of(config: Config, judge: str) -> Price | None:
    """Return what a provider's judge costs, None where its price is not known."""
    own = config.settings.judging_of(judge).price
    if own is not None:
        return own
    model = billed_model(config, judge)
    return FREE if model is None else config.settings.prices.get(model)


def unpriced(config: Config) -> dict[str, str]:
    """Return the judges that the run may ask and whose price is not known, each with what to say."""
    found = {}
    for judge in config.settings.asked_singles:
        if price_of(config, judge) is None:
            model = billed_model(config, judge)
            found[judge] = (
                f"no price is known for judge '{judge}' (model {model}): say prices: {{{model}: {{input: USD, "
                f"output: USD}}}} per million tokens, or judges.{judge}.judging.price"
            )
    return found


def is_missed(config: Config) -> bool:
    """Say whether a price is not known of a judge that is served elsewhere than on this machine.

    A server on this machine may pass requests on to who bills them: its cost is not known then, but hardly missed.
    """
    return not all(_here(billed_model(config, judge)) for judge in unpriced(config))


def _here(model: str | None) -> bool:
    """Say whether a name in the price table, ``HOST/model``, is of a server on this machine."""
    return is_loopback(urlsplit(f"//{model}").hostname or "")


def check_budget(config: Config) -> None:
    """A budget in USD can be kept only where every judge's price is known. Raises `UserError`."""
    missing = list(unpriced(config).values()) if config.settings.budget.usd is not None else []
    if missing:
        lines = "\n".join(f"  {line}" for line in missing)
        raise UserError(f"budget.usd: it cannot be kept [{config.layers.nearest(('budget', 'usd'))}]:\n{lines}")
