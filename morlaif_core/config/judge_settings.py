"""How judges are asked, who they are and what they may cost: the judges' part of a run's configuration."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from morlaif_core.plugins.components import Later, Options, Tuning


class Use(BaseModel):
    """A block that names a component by ``use``; the keys beside it are the component's own options."""

    # Any further key: it is the component's, whose own model validates it once the plugin is known.
    model_config = ConfigDict(frozen=True, extra="allow")
    use: str = Field(description="the name of an offered component, or plugin/name")

    @property
    def component_options(self) -> dict[str, Any]:
        """The keys beside ``use`` that are not the core's."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def block(self) -> dict[str, Any]:
        """The component's block, ``{"use": name, **options}``: the core's own keys taken out."""
        return {"use": self.use, **self.component_options}


class Price(Options):
    """What a model costs, in USD per million tokens."""

    input: float = Field(ge=0, description="USD per million tokens read")
    cached: float | None = Field(None, ge=0, description="USD per million tokens read from a cache; null: as `input`")
    written: float | None = Field(None, ge=0, description="USD per million tokens put into a cache; null: as `input`")
    output: float = Field(ge=0, description="USD per million tokens written")
    batch: float = Field(0.5, ge=0, le=1, description="factor on all of these in a batch (`judging.batch`)")
    as_of: date | None = Field(None, description="the day of this price")


FREE = Price(input=0.0, output=0.0)
"""The price of a judge that nobody bills."""


class Judging(Options):
    """How a judge is asked."""

    orders: Literal["both", "one_random"] = Field(
        "both", description="both: each pair in both orders; one_random: one order, drawn by a hash"
    )
    mode: Literal["auto", "logprob", "rationale", "structured", "text"] = Field(
        "auto",
        description="how a model's verdict is read; auto: logprob, else structured, else text, as it can; not of `rules`",
    )
    samples: int = Field(1, ge=1, le=100, description="times a question is asked where verdicts are read from text")
    few_shots: int = Field(0, ge=0, le=16, description="the principle's example pairs shown with the question")
    abstain: bool = Field(False, description="the judge may say that a question does not apply to a pair")
    joint: bool = Field(False, description="one structured request asks all principles that share the judge")
    min_label_mass: float = Field(
        0.5, ge=0, le=1, description="least total probability of the labels; below it an answer is off_label"
    )
    tell_cut_off: bool = Later(
        True, description="judges that read text are told which responses were cut off at the length limit"
    )
    template: str | None = Later(
        None, description="a text file with the judge's prompt, for judges that read text; null: ours, in English"
    )
    concurrency: int = Tuning(16, ge=1, description="requests in flight at most")
    requests_per_minute: float | None = Tuning(None, gt=0, description="the server's limit; null: none known")
    tokens_per_minute: float | None = Tuning(None, gt=0, description="the server's limit; null: none known")
    price: Price | None = Tuning(None, description="what the model costs; null: as `prices` lists it")
    batch: bool = Tuning(False, description="use the provider's batch API: half the price, hours to wait")
    ledger: str | None = Tuning(None, description="null: RUN/judgements.sqlite; a path shares the ledger between runs")


class Budget(Options):
    """What the run's judges may cost, all stages together: a hard cap. null: no cap."""

    usd: float | None = Tuning(None, ge=0, description="US dollars")
    requests: int | None = Tuning(None, ge=0, description="requests sent")
    tokens: int | None = Tuning(None, ge=0, description="tokens read and written")


class JudgeSettings(Use):
    """A judge: a feedback provider with its options; ``judging`` goes before the run's."""

    judging: dict[str, Any] = Field(default_factory=dict, description="keys of `judging` for this judge alone")


class PanelSettings(Options):
    """A judge made of several judges that are all asked."""

    panel: tuple[str, ...] = Field(min_length=2, description="judges by name; all of them are asked")
    quorum: int | None = Field(None, ge=1, description="number of members that must have a label; null: all of them")
    combine: Literal["median", "mean_logit", "majority"] = Field(
        "median", description="median or mean of the members' log-odds, or a majority vote"
    )


class CascadeSettings(Options):
    """A judge made of several judges, of which the next is asked where the one before is unsure."""

    cascade: tuple[str, ...] = Field(min_length=2, description="judges by name, the cheapest first")
    below: float = Field(gt=0, description="the next judge is asked where |log-odds| of the one before is below this")


def _one_chooser(value: Any) -> Any:
    """A judge says in one way what it is."""
    if not isinstance(value, dict):
        return value
    said = [key for key in ("use", "panel", "cascade") if key in value]
    if len(said) > 1:
        raise ValueError(f"{' and '.join(said)} exclude each other; a judge is a provider, a panel or a cascade")
    if not said:
        raise ValueError("say `use` (a provider), `panel` or `cascade` (lists of judges)")
    # A panel is never asked itself, so `judging` there would change nothing.
    if said != ["use"] and "judging" in value:
        raise ValueError(f"a {said[0]} has no `judging` of its own; say it of its members")
    return value


def _kind_of_judge(value: Any) -> str:
    given = value if isinstance(value, dict) else vars(value) if isinstance(value, BaseModel) else {}
    kinds = {"panel": PanelSettings, "cascade": CascadeSettings}
    return next((kind.__name__ for key, kind in kinds.items() if key in given), JudgeSettings.__name__)


JudgeBlock = Annotated[
    Annotated[JudgeSettings, Tag("JudgeSettings")]
    | Annotated[PanelSettings, Tag("PanelSettings")]
    | Annotated[CascadeSettings, Tag("CascadeSettings")],
    Discriminator(_kind_of_judge),
    BeforeValidator(_one_chooser),
]
