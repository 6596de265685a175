"""The public names of `morlaif_core`: for type checkers, and for ``__init__.py``, which imports each when first used."""

# ruff: noqa: I001
# fmt: off
from .api import build as build, open_judges as open_judges, run as run
from .opened_run import Run as Run, load_run as load_run
from .workbench import Workbench as Workbench
from .judge_bench import JudgeBench as JudgeBench
from .config.principles import principles_from as principles_from
from .errors import UserError as UserError, did_you_mean as did_you_mean
from .feedback.answers.panels_and_cascades import (
    Cascade as Cascade, Judge as Judge, Panel as Panel, cost_of as cost_of, unsure as unsure,
)
from .feedback.asking.wordings import worded as worded
from .feedback.planned_judge import PlannedJudge as PlannedJudge, PlannedRequest as PlannedRequest
from .feedback.sending.http_errors import error_in_body as error_in_body, provider_error as provider_error
from .feedback.sending.http_bodies import (
    json_lines as json_lines, read_body as read_body, token_count as token_count,
)
from .feedback.sending.http_judges import (
    Endpoint as Endpoint, RemoteJudge as RemoteJudge, RemoteOptions as RemoteOptions,
)
from .feedback.statistics.agreement import cohen_kappa as cohen_kappa
from .feedback.statistics.intervals import (
    Figure as Figure, Places as Places, Spread as Spread, effective_rows as effective_rows,
    mean_figure as mean_figure, number_prompts as number_prompts,
    share_figure as share_figure, spread as spread,
)
from .feedback.statistics.position_bias import HardBias as HardBias, hard_bias as hard_bias
from .feedback.statistics.judge_statistics import (
    agreement_with_human as agreement_with_human, panel_agreement as panel_agreement, picks as picks,
)
from .feedback.types import NamedJudge as NamedJudge, Task as Task, Verdict as Verdict
from .models.adapters import lora_config as lora_config
from .models.backbones import policy_backbone as policy_backbone
from .models.cache_check import check_cache as check_cache
from .models.decoding import Decoded as Decoded, decode as decode, stop_strings as stop_strings
from .models.hub import hub_problem as hub_problem, hub_snapshot as hub_snapshot
from .models.judge_model import (
    JudgeModel as JudgeModel, judge_model as judge_model, missing_judge_model as missing_judge_model,
)
from .models.layers import (
    causal_lm as causal_lm, context_length as context_length, layer_count as layer_count, lm_logits as lm_logits,
    positions as positions, run_bottom as run_bottom, run_middle as run_middle, run_top as run_top,
)
from .models.loading import no_progress_bars as no_progress_bars
from .models.plain_text import text_tokenizer as text_tokenizer
from .models.rendering import (
    Encoded as Encoded, encode_pair as encode_pair, hh_text as hh_text, prompt_ids as prompt_ids, render as render,
)
from .plugins.components import (
    Component as Component, Generation as Generation, Later as Later, Lora as Lora, NoOptions as NoOptions,
    Options as Options, Secret as Secret, Target as Target, Tuning as Tuning, component as component,
)
from .plugins.given_scores import ScoreFunction as ScoreFunction, score_component as score_component
from .plugins.hookspecs import hookimpl as hookimpl
from .plugins.protocols import (
    Backbone as Backbone, Backbones as Backbones, Batches as Batches, Dataset as Dataset,
    FeedbackProvider as FeedbackProvider, ModelMaker as ModelMaker, PMBackend as PMBackend, PMJob as PMJob,
    Policy as Policy, PolicyJob as PolicyJob, PolicyTrainer as PolicyTrainer, PreferenceModel as PreferenceModel,
    Report as Report, Reward as Reward, Sampler as Sampler, Scalarizer as Scalarizer,
)
from .runs.folder import write_json as write_json, write_text as write_text
from .runs.tables import (
    format_interval as format_interval, format_number as format_number, print_json as print_json,
    print_table as print_table,
)
from .types import (
    Answer as Answer, Capabilities as Capabilities, CutOff as CutOff, Doubles as Doubles, Example as Example,
    Explanation as Explanation, Floats as Floats, Ints as Ints, Message as Message, Need as Need,
    Preference as Preference, Principle as Principle, Prompt as Prompt, PromptLike as PromptLike,
    ProviderError as ProviderError, Request as Request, ResponsePair as ResponsePair, RewardBatch as RewardBatch,
    ScoreMatrix as ScoreMatrix, Split as Split, Terms as Terms, Usage as Usage, content_hash as content_hash,
    distinct_pairs as distinct_pairs, ended as ended, make_pair as make_pair, make_prompt as make_prompt,
    response_key as response_key,
)
# fmt: on

__version__: str
