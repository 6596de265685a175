"""The values that flow: frozen, no torch; numpy is imported by who computes.

`texts` are prompts and responses, `asking` what passes between the core and a judge, `scores` numbers about responses,
`hashes` ids.
"""

from __future__ import annotations

from morlaif_core.errors import ProviderError as ProviderError

from .asking import (
    Answer as Answer,
    Capabilities as Capabilities,
    Example as Example,
    Principle as Principle,
    Request as Request,
    Usage as Usage,
)
from .hashes import content_hash as content_hash
from .scores import (
    Doubles as Doubles,
    Explanation as Explanation,
    Floats as Floats,
    Ints as Ints,
    Need as Need,
    RewardBatch as RewardBatch,
    ScoreMatrix as ScoreMatrix,
    Terms as Terms,
    html_table as html_table,
)
from .texts import (
    CutOff as CutOff,
    Labels as Labels,
    Message as Message,
    Preference as Preference,
    Prompt as Prompt,
    PromptLike as PromptLike,
    ResponsePair as ResponsePair,
    Split as Split,
    distinct_pairs as distinct_pairs,
    ended as ended,
    label_under as label_under,
    make_pair as make_pair,
    make_prompt as make_prompt,
    response_key as response_key,
    texts_id as texts_id,
)
