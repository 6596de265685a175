"""A small plugin: a scalarizer that listens to the median principle, a judge that prefers brevity, a command."""

from morlaif_core import Answer, Capabilities, NoOptions, component, hookimpl


def median(scores, terms):
    import numpy as np

    return np.median(scores.values, axis=1).astype(np.float32)


class Shorter:
    identity = "shorter-1"
    capabilities = Capabilities(reads="pair")

    async def ask(self, request):
        first, second = len(request.first), len(request.second)
        return Answer(p_first=0.5 if first == second else float(first < second))


@hookimpl
def morlaif_scalarizers():
    return [component("median", lambda options: median, NoOptions, "the median principle", monotone=True)]


@hookimpl
def morlaif_feedback_providers():
    return [component("shorter", lambda options: Shorter(), NoOptions, "prefers the shorter response")]


def build_lengths(options):
    import click

    from morlaif_core import load_run

    @click.command("lengths")
    @click.argument("run")
    def lengths(run):
        """Say how long the two answers of a pair of RUN are, in characters on average."""
        pairs = [stored.pair for stored in load_run(run).pairs()]
        click.echo(f"{sum(len(pair.a) + len(pair.b) for pair in pairs) / (2 * len(pairs)):.1f}")

    return lengths


@hookimpl
def morlaif_commands():
    return [component("lengths", build_lengths, NoOptions, "say how long a run's answers are")]
