"""Multi-objective reinforcement learning from AI feedback: the public names, imported when first used (PEP 562)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adapters import lora_config as lora_config
    from .api import Run as Run, build as build, load_run as load_run, run as run
    from .backbones import policy_backbone as policy_backbone
    from .decoding import Decoded as Decoded, decode as decode, stop_strings as stop_strings
    from .errors import UserError as UserError
    from .hookspecs import hookimpl as hookimpl
    from .http_errors import error_in_body as error_in_body, provider_error as provider_error
    from .http_judges import (
        Endpoint as Endpoint,
        RemoteOptions as RemoteOptions,
        json_lines as json_lines,
        read_body as read_body,
        token_count as token_count,
    )
    from .hub import hub_problem as hub_problem, hub_snapshot as hub_snapshot
    from .judge_models import (
        JudgeModel as JudgeModel,
        judge_model as judge_model,
        missing_judge_model as missing_judge_model,
    )
    from .layers import (
        layer_count as layer_count,
        lm_logits as lm_logits,
        run_bottom as run_bottom,
        run_middle as run_middle,
        run_top as run_top,
    )
    from .options import (
        Component as Component,
        Generation as Generation,
        Lora as Lora,
        NoOptions as NoOptions,
        Options as Options,
        Secret as Secret,
        Target as Target,
        Tuning as Tuning,
        component as component,
    )
    from .principles import principles_from as principles_from
    from .protocols import (
        Backbone as Backbone,
        Backbones as Backbones,
        Batches as Batches,
        Dataset as Dataset,
        FeedbackProvider as FeedbackProvider,
        ModelMaker as ModelMaker,
        PMBackend as PMBackend,
        PMJob as PMJob,
        Policy as Policy,
        PolicyJob as PolicyJob,
        PolicyTrainer as PolicyTrainer,
        PreferenceModel as PreferenceModel,
        Report as Report,
        Reward as Reward,
        Sampler as Sampler,
        Scalarizer as Scalarizer,
    )
    from .text import (
        Encoded as Encoded,
        encode_pair as encode_pair,
        hh_text as hh_text,
        prompt_ids as prompt_ids,
        render as render,
    )
    from .types import (
        Answer as Answer,
        Capabilities as Capabilities,
        Example as Example,
        Explanation as Explanation,
        Floats as Floats,
        Ints as Ints,
        Message as Message,
        Need as Need,
        Preference as Preference,
        Principle as Principle,
        Prompt as Prompt,
        ProviderError as ProviderError,
        Request as Request,
        ResponsePair as ResponsePair,
        RewardBatch as RewardBatch,
        ScoreMatrix as ScoreMatrix,
        Split as Split,
        Terms as Terms,
        Usage as Usage,
        content_hash as content_hash,
        make_pair as make_pair,
        make_prompt as make_prompt,
    )
    from .workbench import Workbench as Workbench

__version__ = "0.1.0"

_HOME = {
    "adapters": "lora_config",
    "api": "Run build load_run run",
    "backbones": "policy_backbone",
    "decoding": "Decoded decode stop_strings",
    "errors": "UserError",
    "hookspecs": "hookimpl",
    "hub": "hub_problem hub_snapshot",
    "judge_models": "JudgeModel judge_model missing_judge_model",
    "http_errors": "error_in_body provider_error",
    "http_judges": "Endpoint RemoteOptions json_lines read_body token_count",
    "layers": "layer_count lm_logits run_bottom run_middle run_top",
    "options": "Component Generation Lora NoOptions Options Secret Target Tuning component",
    "principles": "principles_from",
    "protocols": "Backbone Backbones Batches Dataset FeedbackProvider ModelMaker PMBackend PMJob Policy PolicyJob "
    "PolicyTrainer PreferenceModel Report Reward Sampler Scalarizer",
    "text": "Encoded encode_pair hh_text prompt_ids render",
    "types": "Answer Capabilities Example Explanation Floats Ints Message Need Preference Principle Prompt "
    "ProviderError Request ResponsePair RewardBatch ScoreMatrix Split Terms Usage content_hash make_pair make_prompt",
    "workbench": "Workbench",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}
__all__ = sorted([*_MODULE_OF, "__version__"])  # noqa: PLE0605 - kept in step with the imports above by a test


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'morlaif_core' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
