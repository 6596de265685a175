"""Contract checks and fakes for plugin authors: every check raises `ContractError` with what was expected and seen.

A plugin's whole test may be::

    from my_plugin import morlaif_scalarizers
    from morlaif_core.testing import check_scalarizer

    def test_contract():
        for component in morlaif_scalarizers():
            check_scalarizer(component)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from morlaif_core.testing.scalarizer_checks.check import check_scalarizer as check_scalarizer
from morlaif_core.testing.training_checks.maker import check_model_maker as check_model_maker
from morlaif_core.testing.training_checks.pm_backend import check_pm_backend as check_pm_backend
from morlaif_core.testing.training_checks.sampler import check_sampler as check_sampler
from morlaif_core.testing.training_checks.trainer import check_policy_trainer as check_policy_trainer

from .bases import tiny_base as tiny_base
from .components import (
    ContractError as ContractError,
    check_command as check_command,
    check_component as check_component,
)
from .datasets import check_dataset as check_dataset
from .fakes import (
    FakePreferenceModel as FakePreferenceModel,
    make_scores as make_scores,
    make_terms as make_terms,
    memory_reward as memory_reward,
)
from .principles import check_principles as check_principles
from .providers import check_feedback_provider as check_feedback_provider

if TYPE_CHECKING:
    from .faultserver import (
        Fault as Fault,
        FaultMix as FaultMix,
        FaultServer as FaultServer,
        KnownPreference as KnownPreference,
        fault_server as fault_server,
        judge_server as judge_server,
    )

__all__ = [
    "ContractError",
    "FakePreferenceModel",
    "Fault",
    "FaultMix",
    "FaultServer",
    "KnownPreference",
    "check_command",
    "check_component",
    "check_dataset",
    "check_feedback_provider",
    "check_model_maker",
    "check_pm_backend",
    "check_policy_trainer",
    "check_principles",
    "check_sampler",
    "check_scalarizer",
    "fault_server",
    "judge_server",
    "make_scores",
    "make_terms",
    "memory_reward",
    "tiny_base",
]


def __getattr__(name: str) -> object:
    if name in __all__:  # the checks are imported above; these names bring a server along
        from . import faultserver

        return getattr(faultserver, name)
    raise AttributeError(f"module 'morlaif_core.testing' has no attribute '{name}'")
