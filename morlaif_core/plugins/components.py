"""Options, Secret, Component: how a plugin describes what it offers."""

from __future__ import annotations

import operator
import os
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticUndefined, core_schema

from morlaif_core.redaction import REVEALED
from morlaif_core.types import Need

if TYPE_CHECKING:
    from morlaif_core.types import Capabilities, Principle

TUNING = "tuning"
LATER = "later"
SHORTEST_SECRET = 8
"""Characters; a shorter value is no key, and to redact it would make other text unreadable."""
SECRET_PATTERN = r"^[A-Z_][A-Z0-9_]*$"
"""A variable's name; what does not fit it may be the key itself, and is not shown."""


class Options(BaseModel):
    """Base of every options model. Each field has a description."""

    # Frozen, as fingerprints are made of them; a misspelt key must not pass for a default; JSON has no NaN.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true for 1: who writes ``seed: true`` means something else."""
        if isinstance(value, bool) and info.field_name is not None:
            annotation = cls.model_fields[info.field_name].annotation
            # pydantic would take true for 1.
            if not accepts(annotation, bool) and (accepts(annotation, int) or accepts(annotation, float)):
                raise ValueError(f"a number is needed, not {str(value).lower()}")
        return value


def accepts(annotation: Any, kind: type) -> bool:
    """Say whether a field of this type takes values of a kind (``NoneType``, ``bool``, ``int``) as they are."""
    annotation = getattr(annotation, "__value__", annotation)  # what `type Name = …` stands for
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return any(isinstance(value, kind) for value in arguments)
    if origin is Annotated:
        return accepts(arguments[0], kind)
    if origin in (Union, types.UnionType):
        return any(accepts(argument, kind) for argument in arguments)
    return annotation in (Any, object) or (isinstance(annotation, type) and issubclass(annotation, kind))


class NoOptions(Options):
    """For components without options."""


def Tuning(default: Any = PydanticUndefined, **kwargs: Any) -> Any:  # noqa: N802 - reads like pydantic's Field
    """Declare an option that changes speed, not results, so that no fingerprint counts it.

    default, kwargs: as of pydantic's ``Field``; a `description` is a must.

    >>> class BatchOptions(Options):
    ...     batch: int = Tuning(8, ge=1, description="responses in a forward pass")
    >>> BatchOptions().batch
    8
    """
    return Field(default, json_schema_extra={TUNING: True}, **kwargs)


def Later(default: Any = PydanticUndefined, **kwargs: Any) -> Any:  # noqa: N802 - reads like pydantic's Field
    """Declare an option that came later: its default is in no fingerprint, so that runs from before it stay done.

    default, or ``default_factory=``, is what runs from before it did. default, kwargs: as of pydantic's ``Field``; a
    `description` is a must.

    >>> class MyOptions(Options):
    ...     top_p: float = Later(1.0, gt=0, le=1, description="sample from the likeliest tokens of this probability")
    >>> MyOptions().top_p
    1.0
    """
    return Field(default, json_schema_extra={LATER: True}, **kwargs)


class Secret(str):
    """The NAME of an environment variable; its value is redacted wherever it would be printed or stored.

    >>> class KeyOptions(Options):
    ...     api_key: Secret = Field(Secret("MY_API_KEY"), description="NAME of the variable with the key")
    >>> KeyOptions().api_key
    'MY_API_KEY'
    """

    def reveal(self) -> str:
        """Return the variable's value. Raises `KeyError` where it is not set."""
        # Read each time and kept for redaction alone: an object that holds a key may be pickled or printed.
        value = os.environ[str(self)]
        if len(value) >= SHORTEST_SECRET:
            REVEALED.add(value)
        return value

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        name = core_schema.str_schema(pattern=SECRET_PATTERN, max_length=64)
        return core_schema.no_info_after_validator_function(cls, name)


T_co = TypeVar("T_co", covariant=True)
O = TypeVar("O", bound=Options)  # noqa: E741 - the contract's name
Setting = Literal["weight", "threshold", "priority"]


@dataclass(frozen=True)
class Component(Generic[T_co]):
    """What a plugin offers under a name. Made by `component`.

    Attributes:
        name: as a configuration says it: small letters, digits, ``-`` and ``_``.
        build: makes the object from its options; does the heavy imports.
        options: the class of its options.
        summary: one line, for lists.
        needs: what it needs of other components.
        supplies: what it supplies to them.
        uses: scalarizers: which terms they use.
        monotone: scalarizers: a better score never lowers the reward.
        missing: given the options: what a run still needs from outside (a package, the network), each line says what to do.
        refuses: feedback providers: given options and a principle, why this judge cannot measure it, or None.
        bills: feedback providers: given the options, the model's name in the price table (`prices`); None: costs nothing.
        needs_for: given the options: what it needs besides `needs`.
        supplies_for: given the options: what it supplies besides `supplies`.
        names: given the options, the principles that they name. Scalarizers: active ones, with a weight above 0. Data
            sets: those that have labels of their own; each must be known.
        capabilities: feedback providers: given the options, the provider's `capabilities`; None: not known until built.
        goes_on: trainers: given old and new options: None where the old training begins the new one; else why not, or "".
        learns: preference-model backends: False: scores are given, not learned: no pair is judged to train or measure them.
    """

    name: str
    build: Callable[[Any], T_co]
    options: type[Options]
    summary: str
    needs: frozenset[Need] = frozenset()
    supplies: frozenset[Need] = frozenset()
    uses: frozenset[Setting] = frozenset()
    monotone: bool = False
    missing: Callable[[Any], Iterable[str]] | None = None
    refuses: Callable[[Any, Principle], str | None] | None = None
    bills: Callable[[Any], str] | None = None
    needs_for: Callable[[Any], frozenset[Need]] | None = None
    supplies_for: Callable[[Any], frozenset[Need]] | None = None
    names: Callable[[Any], Iterable[str]] | None = None
    capabilities: Callable[[Any], Capabilities] | None = None
    goes_on: Callable[[Any, Any], str | None] | None = None
    learns: bool = True

    def all_needs(self, options: Options) -> frozenset[Need]:
        """Return what it needs with these options.

        options: of its class.
        """
        return self.needs | (self.needs_for(options) if self.needs_for else frozenset())

    def all_supplies(self, options: Options) -> frozenset[Need]:
        """Return what it supplies with these options.

        options: of its class.
        """
        return self.supplies | (self.supplies_for(options) if self.supplies_for else frozenset())


def component(
    name: str,
    build: Callable[[O], T_co],
    options: type[O],
    summary: str,
    *,
    needs: frozenset[Need] = frozenset(),
    supplies: frozenset[Need] = frozenset(),
    uses: frozenset[Setting] = frozenset(),
    monotone: bool = False,
    missing: Callable[[O], Iterable[str]] | None = None,
    refuses: Callable[[O, Principle], str | None] | None = None,
    bills: Callable[[O], str] | None = None,
    needs_for: Callable[[O], frozenset[Need]] | None = None,
    supplies_for: Callable[[O], frozenset[Need]] | None = None,
    names: Callable[[O], Iterable[str]] | None = None,
    capabilities: Callable[[O], Capabilities] | None = None,
    goes_on: Callable[[O, O], str | None] | None = None,
    learns: bool = True,
) -> Component[T_co]:
    """Describe one offer; a type checker sees a `build` that does not fit its options.

    Args:
        name: as a configuration says it: small letters, digits, ``-`` and ``_``.
        build: makes the object from its options; does the heavy imports.
        options: the class of its options.
        summary: one line, for lists.
        needs: what it needs of other components.
        supplies: what it supplies to them.
        uses: scalarizers: which terms they use.
        monotone: scalarizers: a better score never lowers the reward.
        missing: given the options: what a run still needs from outside (a package, the network), each line says what to do.
        refuses: feedback providers: given options and a principle, why this judge cannot measure it, or None.
        bills: feedback providers: given the options, the model's name in the price table (`prices`); None: costs nothing.
        needs_for: given the options: what it needs besides `needs`.
        supplies_for: given the options: what it supplies besides `supplies`.
        names: given the options, the principles that they name. Scalarizers: active ones, with a weight above 0. Data
            sets: those that have labels of their own; each must be known.
        capabilities: feedback providers: given the options, the provider's `capabilities`; None: not known until built.
        goes_on: trainers: given old and new options: None where the old training begins the new one; else why not, or "".
        learns: preference-model backends: False: scores are given, not learned: no pair is judged to train or measure them.

    >>> component("calm", lambda options: print, NoOptions, "prefers fewer exclamation marks").name
    'calm'
    """
    return Component(
        name, build, options, summary, needs, supplies, uses, monotone, missing, refuses, bills, needs_for, supplies_for,
        names, capabilities, goes_on, learns,
    )  # fmt: skip


class Lora(Options):
    """A low-rank adapter (Hu et al., arXiv 2106.09685)."""

    r: int = Field(16, ge=1, description="rank")
    alpha: float = Field(32, gt=0, description="scale: the update is multiplied by alpha / r")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the adapter's input during training")
    modules: tuple[str, ...] | Literal["auto"] = Field("auto", description="adapted modules; auto: every linear layer")
    top_layers: int | None = Field(
        None, ge=1, description="adapt only the top N layers, so that the ones below run once; null: all"
    )


_RENDERING = {
    "messages",
    "conversation",
    "tokenize",
    "add_generation_prompt",
    "continue_final_message",
    "chat_template",
}
"""What a rendering gives the tokenizer itself."""


class Target(Options):
    """A causal language model and how it is loaded."""

    model: str | dict[str, object] = Field(description="{use: NAME, ...}, an offered name, a folder, or a hub id")
    revision: str | None = Field(None, description="the hub's revision")
    template: Literal["auto", "chat", "hh"] = Field(
        "auto", description="auto: the tokenizer's chat template, else HH turns"
    )
    # Left out of what is dumped while empty: fingerprints of runs from before it was there stay the same.
    chat_template_kwargs: dict[str, JsonValue] = Field(
        default_factory=dict,
        exclude_if=operator.not_,
        description="variables that the chat template is given: {enable_thinking: false} for Qwen 3",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: float32 on a CPU, bfloat16 on a GPU"
    )
    quantize: Literal["4bit", "8bit"] | None = Field(
        None, description="load quantised weights (needs bitsandbytes, a GPU)"
    )
    lora: Lora | None = Field(None, description="train an adapter, not the weights")

    @model_validator(mode="after")
    def _kwargs_reach_a_template(self) -> Target:
        if self.chat_template_kwargs and self.template == "hh":
            raise ValueError("chat_template_kwargs have no chat template to go to; leave out template: hh")
        if taken := sorted(_RENDERING.intersection(self.chat_template_kwargs)):
            raise ValueError(f"chat_template_kwargs: {', '.join(taken)} is set by the rendering itself; leave it out")
        return self


class Generation(Options):
    """How responses are sampled: of pairs, rollouts, evaluation and `generate` alike."""

    max_new_tokens: int = Field(128, ge=1, description="tokens a response may have")
    temperature: float = Field(0.7, gt=0, description="softmax temperature")
    stop: Literal["auto"] | tuple[str, ...] = Field(
        "auto", description="auto: eos, and the next human turn of HH prompts"
    )
