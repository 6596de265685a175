"""Tables and JSON for the terminal: rich where there is one, else plain lines, never cut or wrapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from morlaif_core.runs.progress import Screen
from morlaif_core.runs.tables import print_json, print_table
from morlaif_core.stages.results_table import show_results as show_results

if TYPE_CHECKING:
    from morlaif_core.config.principles import Known
    from morlaif_core.plugins.manager import Plugins

    from .under_way import UnderWay


def show_status(manifest: Mapping[str, Any], results: Mapping[str, Any], now: UnderWay, missed: bool = True) -> None:
    """Stages with state and seconds, whether a process is at work, then the results' table.

    missed: an unknown cost is told.
    """
    from morlaif_core.stages.judge import few_labels
    from morlaif_core.stages.pipeline import STAGES
    from morlaif_core.stages.pm_accuracy import at_chance

    stages = manifest.get("stages", {})
    rows = [
        [
            stage.name,
            now.state if stage.name == now.stage else stages.get(stage.name, {}).get("state", "not started"),
            f"{stages.get(stage.name, {}).get('seconds', 0) + (now.seconds if stage.name == now.stage else 0):.0f} s",
        ]
        for stage in STAGES
    ]
    print_table(["stage", "state", "time"], rows)
    if now.process:
        click.echo(now.process)
    if results.get("cost_usd"):
        click.echo(f"judging has cost ${results['cost_usd']:,.4f}")
    elif missed and "cost_usd" in results.get("notes", {}):
        click.echo(f"the cost of judging is not known: {results['notes']['cost_usd']}")
    for line in few_labels(results.get("judge", {})):
        click.echo(line)
    # Else it stands below the table.
    if "policy" not in results and (chance := at_chance(results.get("preference_models", {}))):
        click.echo(f"warning: {chance}")
    shares = {name: block["effective_weight"] for name, block in results.get("reward", {}).items()}
    shares = {name: share for name, share in shares.items() if share is not None}
    if shares:
        said = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
        click.echo(f"effective weights (weight times deviation of the scores): {said}")
    show_results(results, Screen())


def show_plugins(plugins: Plugins, as_json: bool) -> None:
    """What is offered, by kind, then what is set aside."""
    offers = [offer for kind in plugins.offers_by_kind.values() for offer in kind]
    if as_json:
        rows = [
            {
                "kind": offer.kind,
                "name": offer.component.name,
                "summary": offer.component.summary,
                "plugin": offer.plugin,
                "distribution": offer.distribution,
                "version": offer.version,
                "options": {
                    name: {
                        "default": None if field.is_required() else field.get_default(call_default_factory=True),
                        "description": field.description,
                    }
                    for name, field in offer.component.options.model_fields.items()
                },
            }
            for offer in offers
        ]
        print_json({"offers": rows, "set_aside": [vars(aside) for aside in plugins.set_aside]})
        return
    table = [[offer.kind, offer.component.name, offer.plugin, offer.component.summary] for offer in offers]
    print_table(["kind", "name", "plugin", "summary"], table)
    for aside in plugins.set_aside:
        click.echo(str(aside))


def show_principles(known: Mapping[str, Known], as_json: bool) -> None:
    """All principles with question and source."""
    items = sorted(known.values(), key=lambda item: item.principle.name)
    if as_json:
        print_json([_principle_json(item) for item in items])
        return
    rows = [
        [
            item.principle.name,
            item.principle.picks,
            item.source + "".join(f" (shadows {name})" for name in item.shadows),
            item.principle.question,
        ]
        for item in items
    ]
    print_table(["principle", "picks", "from", "question"], rows)


def show_principle(item: Known, as_json: bool) -> None:
    """One principle with the request that a judge gets for its first example."""
    from morlaif_core.feedback.asking.prompt import judge_messages
    from morlaif_core.types import Message, Request, make_prompt

    if as_json:
        print_json(_principle_json(item))
        return
    principle = item.principle
    click.echo(f"{principle.name} ({item.source})\n{principle.question}")
    click.echo(
        "the judge names the " + ("better one" if principle.picks == "better" else "worse one (inverted on reading)")
    )
    for phrasing in principle.phrasings:
        click.echo(f"also: {phrasing}")
    if principle.examples:
        example = principle.examples[0]
        request = Request(make_prompt([Message("user", example.prompt)]), example.a, example.b, principle)
        click.echo(f"\nthe request as a judge gets it, for the first example (preferred: {example.winner}):")
        for message in judge_messages(request):
            click.echo(f"[{message.role}]\n{message.content}")


def _principle_json(item: Known) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(item.principle), "source": item.source, "shadows": list(item.shadows)}
