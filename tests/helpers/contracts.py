"""What a check of the contract finds in a scalarizer that somebody got wrong."""

from __future__ import annotations

import pytest

from morlaif_core import Component, Scalarizer
from morlaif_core.testing import ContractError, check_scalarizer


def assert_found(offered: Component[Scalarizer], complaint: str) -> None:
    """The check complains so; an empty complaint: it finds nothing wrong."""
    if not complaint:
        check_scalarizer(offered)
        return
    with pytest.raises(ContractError, match=complaint):
        check_scalarizer(offered)
