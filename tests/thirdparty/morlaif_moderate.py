"""A plugin in 20 lines: a scalarizer that listens to the median principle, a judge that prefers the shorter response."""

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
