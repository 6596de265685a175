"""The hooks a plugin may implement: each takes nothing, returns an iterable of components; plugins offer, YAML chooses.

Every installed plugin is asked; none wins and none is ``firstresult``. A hook is called when the toolkit needs to know
what there is (`morlaif plugins`, a name in a configuration), so it must be light: heavy imports belong into ``build``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from morlaif_core.types import Principle

from .components import Component

if TYPE_CHECKING:
    import click

    from .protocols import Dataset, FeedbackProvider, ModelMaker, PMBackend, PolicyTrainer, Sampler, Scalarizer

GROUP = "morlaif"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class Hooks:
    """All hooks, by kind."""

    @hookspec
    def morlaif_feedback_providers(self) -> Iterable[Component[FeedbackProvider]]:
        """Offer judges' engines; YAML names one as ``judges.NAME.use``.

        The core does prompt, orders, parsing, retry, ledger::

            from morlaif_core import Answer, Capabilities, NoOptions, Request, component, hookimpl

            class Coin:
                identity = "coin-1"
                capabilities = Capabilities(reads="pair")

                async def ask(self, request: Request) -> Answer:
                    return Answer(p_first=0.5)

            @hookimpl
            def morlaif_feedback_providers():
                return [component("coin", lambda options: Coin(), NoOptions, "calls every pair a tie")]
        """
        return []

    @hookspec
    def morlaif_pm_backends(self) -> Iterable[Component[PMBackend]]:
        """Offer preference-model backends; YAML names one as ``preference_model.use``.

        The core does the split by prompt, ties, calibration and accuracy::

            @hookimpl
            def morlaif_pm_backends():
                return [component("ngrams", NgramBackend, NgramOptions, "linear model on character n-grams")]
        """
        return []

    @hookspec
    def morlaif_scalarizers(self) -> Iterable[Component[Scalarizer]]:
        """Offer scalarizers; YAML names one as ``scalarizer.use``.

        The core does calibration, clipping, NaN and name checks::

            import numpy as np
            from morlaif_core import NoOptions, component, hookimpl

            def largest(scores, terms):
                return np.max(scores.values, axis=1, initial=-np.inf)

            @hookimpl
            def morlaif_scalarizers():
                return [component("largest", lambda options: largest, NoOptions, "the best principle", monotone=True)]
        """
        return []

    @hookspec
    def morlaif_datasets(self) -> Iterable[Component[Dataset]]:
        """Offer data sets; YAML names one as ``dataset.use``.

        The core does counting, disjoint prompt sets and hashes::

            from morlaif_core import Message, NoOptions, component, hookimpl, make_prompt

            class Capitals:
                skipped: dict[str, int] = {}

                def prompts(self, split):
                    for country in ("France", "Kenya"):
                        yield make_prompt([Message("user", f"What is the capital of {country}?")])

                def preferences(self, split):
                    return iter(())

            @hookimpl
            def morlaif_datasets():
                return [component("capitals", lambda options: Capitals(), NoOptions, "questions about capitals")]
        """
        return []

    @hookspec
    def morlaif_models(self) -> Iterable[Component[ModelMaker]]:
        """Offer models that are neither a folder nor on a hub; YAML names one in any ``model:``.

        The core resolves, caches and locks::

            @hookimpl
            def morlaif_models():
                return [component("tiny", TinyMaker, TinyOptions, "a two-layer model trained on the data set")]
        """
        return []

    @hookspec
    def morlaif_samplers(self) -> Iterable[Component[Sampler]]:
        """Offer samplers; YAML names one as ``sampler.use``.

        The core cuts chunks, gives seeds, stores rows as they come and resumes::

            @hookimpl
            def morlaif_samplers():
                return [component("server", ServerSampler, ServerOptions, "samples from an inference server")]
        """
        return []

    @hookspec
    def morlaif_policy_trainers(self) -> Iterable[Component[PolicyTrainer]]:
        """Offer policy trainers; YAML names one as ``trainer.use``.

        The core gives the reward, writes the metrics file and shows progress::

            @hookimpl
            def morlaif_policy_trainers():
                return [component("reinforce", Reinforce, ReinforceOptions, "plain policy gradient")]
        """
        return []

    @hookspec
    def morlaif_commands(self) -> Iterable[Component[click.Command]]:
        """Offer commands of the command line, each under the component's name: ``morlaif hello RUN``.

        The core lists them in ``morlaif --help`` by their summaries, builds one only when it is called, and treats its
        errors as its own: exit codes, advice in place of tracebacks, Ctrl-C. A command reads its own arguments, so its
        options are `NoOptions`. Import the module of a command in ``build``, what the command needs in the command::

            from morlaif_core import NoOptions, component, hookimpl

            def build_hello(options):
                import click
                from morlaif_core import load_run

                @click.command("hello", help="Say which stages of RUN are done.")
                @click.argument("run")
                def hello(run: str) -> None:
                    click.echo(", ".join(load_run(run).manifest["stages"]))

                return hello

            @hookimpl
            def morlaif_commands():
                return [component("hello", build_hello, NoOptions, "say which stages of a run are done")]
        """
        return []

    @hookspec
    def morlaif_principles(self) -> Iterable[Principle]:
        """Offer principles by value; YAML names them under ``principles``.

        `principles_from` reads the YAML files in a package::

            from morlaif_core import hookimpl, principles_from

            @hookimpl
            def morlaif_principles():
                return principles_from("my_package.principles")
        """
        return []
