"""What answers cost, and that the shipped judges have a price."""

from __future__ import annotations

import random
from datetime import date

import pytest

from morlaif_core import Usage
from morlaif_core.config.judge_settings import Price
from morlaif_core.config.load import load_config
from morlaif_core.feedback.ledger.amounts import usd
from morlaif_core.feedback.ledger.answer_rows import _shares

PRICE = Price(input=4.0, cached=0.4, written=5.0, output=20.0)


def test_each_kind_of_token_has_its_price() -> None:
    usage = Usage(input=1000, cached=300, written=200, output=10)
    assert usd(usage, PRICE) == pytest.approx((500 * 4 + 300 * 0.4 + 200 * 5 + 10 * 20) / 1e6)
    assert usd(usage, PRICE, batch=True) == pytest.approx(usd(usage, PRICE) / 2)  # type: ignore[operator]
    plain = Price(input=4.0, output=20.0)
    assert usd(usage, plain) == pytest.approx((1000 * 4 + 10 * 20) / 1e6)
    assert usd(usage, None) is None


def test_shares_of_a_joint_request_add_up() -> None:
    draw = random.Random(0)
    for n in range(1, 13):
        usage = Usage(*(draw.randrange(1000) for _ in range(4)))
        shares = _shares(usage, n)
        assert len(shares) == n
        for name in ("input", "cached", "output", "written"):
            assert sum(getattr(share, name) for share in shares) == getattr(usage, name)


def test_the_shipped_judges_have_a_price_with_its_day() -> None:
    config = load_config(["demo"], [])
    prices, known = config.settings.prices, set()
    for name in config.settings.judges:
        block = config.judge_block(name)
        offered = config.plugins.find("feedback_provider", block["use"])
        if offered.bills is None:
            continue
        price = prices[offered.bills(config.plugins.options("feedback_provider", block))]
        assert price.as_of is not None, name
        assert date(2026, 1, 1) < price.as_of
        known.add(name)
    assert known == {"gpt-35", "gpt-4o-mini", "gpt-6-luna", "claude"}
    for price in prices.values():
        assert (price.cached or 0) < price.input < price.output
        assert price.written is None or price.written == pytest.approx(1.25 * price.input)
