"""How many prompt tokens the twelve principles cost, against a request for each that puts the principle first.

    python benchmarks/prompt_tokens.py [--quick] [--json FILE]

Real pairs (MORLAIF_HH_SAMPLE names a file of HH-rlhf), SmolLM2's tokenizer (plugin smollm2), both orders. What a server
that caches prefixes computes (blocks of 16 tokens, a prefix known once its first request has been answered) is counted
by the fault server while `judge_tasks` asks it, 64 requests at a time; a joint request asks all principles at once.
Principle first shares no prefix: its tokens are all computed. It is counted twice: in our words, and in as many words
as the paper's prompt has (arXiv 2406.07295), which names the principle at its start and its end and fences nothing.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from tables import print_rows, write_rows

from morlaif_core import Capabilities, Principle, Request, ResponsePair, build, make_pair
from morlaif_core.config.judge_settings import Judging
from morlaif_core.config.principles import known_principles, pick_principles
from morlaif_core.config.shipped_files import bundle
from morlaif_core.feedback.asking.requests import asking_of, build_request
from morlaif_core.feedback.asking.wordings import joint_order
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.types import NamedJudge, Task
from morlaif_core.plugins.manager import Plugins
from morlaif_core.testing import fault_server
from morlaif_core.testing.faultserver.simulated.asking import rendered

CACHED, JOINT = 0.35, 0.15
Count = Callable[[str], int]


def main() -> None:
    """Count, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 pairs instead of all")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tokenizer: Any = build("feedback_provider", "transformers", model="smollm2").model.tokenizer()  # type: ignore[attr-defined]
    ids = lru_cache(maxsize=4096)(lambda text: tokenizer(text, add_special_tokens=False)["input_ids"])
    names = yaml.safe_load(bundle("registry.yaml").read_text(encoding="utf-8"))["principles"]
    principles = pick_principles(names, known_principles(Plugins.load()))
    pairs = real_pairs()[: 60 if options.quick else None]
    rows = compare(pairs, principles, ids)
    print_rows([{key: _text(row.get(key)) for key in ("name", "metric", "value", "target", "met")} for row in rows])
    print(f"\n{len(pairs)} pairs, {len(principles)} principles, both orders")
    write_rows(options.json, rows)


def real_pairs() -> list[ResponsePair]:
    """The pairs of the sample whose two responses differ."""
    data = build("dataset", "hh-rlhf", path=os.environ["MORLAIF_HH_SAMPLE"])
    found = [item for split in ("train", "test") for item in data.preferences(split)]
    return [make_pair(item.prompt, item.a, item.b) for item in found if item.a != item.b]


def compare(
    pairs: Sequence[ResponsePair], principles: Sequence[Principle], ids: Callable[[str], Sequence[int]]
) -> list[dict[str, Any]]:
    """Count the tokens of all ways; rows with the share of what the principle first takes."""

    def count(text: str) -> int:
        return len(ids(text))

    alone = list(requests(pairs, principles, joint=False))
    ours, paper = (sum(map(count, map(layout, alone))) for layout in (question_first, papers))
    one = sum(map(count, map(question_first, requests(pairs[:1], principles, joint=False))))
    joint = sum(count(text_of(request)) for request in requests(pairs, principles, joint=True))
    computed = computed_tokens(pairs, principles, ids)
    return [
        row("a request each, prefixes cached", "of principle first", computed / ours, CACHED),
        row("the same, a single pair", "of principle first", computed_tokens(pairs[:1], principles, ids) / one, CACHED),
        row("a request each, prefixes cached", "of the paper's prompt", computed / paper, CACHED),
        row("a joint request", "of principle first", joint / ours, JOINT),
        row("a joint request", "of the paper's prompt", joint / paper, JOINT),
        *(
            {"name": name, "metric": "tokens for a pair and an order", "value": round(total / len(pairs) / 2)}
            for name, total in (
                ("principle first", ours),
                ("the paper's prompt", paper),
                ("a request each, prefixes cached", computed),
                ("a joint request", joint),
            )
        ),
    ]


def requests(pairs: Sequence[ResponsePair], principles: Sequence[Principle], *, joint: bool) -> Iterator[Request]:
    """All requests about the pairs."""
    capabilities = Capabilities(structured=True) if joint else Capabilities(max_top_logprobs=20)
    asking = asking_of(capabilities, Judging(joint=joint))
    for pair in pairs:
        groups = [joint_order(principles, pair.id)] if joint else [(principle,) for principle in principles]
        for group in groups:
            yield from (build_request(pair, group, order, asking) for order in ("ab", "ba"))


def text_of(request: Request) -> str:
    """A request's messages as one text, as the fault server counts them."""
    return rendered(tuple((turn.role, turn.content) for turn in request.messages))


def question_first(request: Request) -> str:
    """The same words, the question before the texts."""
    system, user = (turn.content for turn in request.messages)
    question, _, ask = user[request.shared :].rpartition("\n")
    return rendered((("system", system), ("user", f"{question}\n\n{user[: request.shared]}{ask}")))


def papers(request: Request) -> str:
    """A prompt built like the paper's: the principle, the conversation, both options, the principle again."""
    roles = {"user": "Human", "assistant": "Assistant", "system": "System"}
    turns = "".join(f"\n\n{roles[turn.role]}: {turn.content}" for turn in request.prompt.messages)
    question = request.principle.question
    text = (
        "You are about to see how a human talked with an AI assistant.\n"
        f"It is up to you to decide about its two possible answers. {question}\n"
        f"This is what they said:{turns}\nThese are the possible answers:\nOption A: {request.first}\n"
        f"Option B: {request.second}\n{question} Please decide this alone, no matter how good an answer is by other "
        "standards. Please say nothing but A or B.\nThe option that I choose is:"
    )
    return rendered((("user", text),))


def computed_tokens(
    pairs: Sequence[ResponsePair], principles: Sequence[Principle], ids: Callable[[str], Sequence[int]]
) -> int:
    """Prompt tokens that a server with a prefix cache computes when all is asked of it, 64 requests at a time."""
    of = [Task(pair, principle, "judge") for pair in pairs for principle in principles]
    with (
        tempfile.TemporaryDirectory() as folder,
        fault_server(tokenizer=ids, latency=0.05, keep_bodies=False) as server,
    ):

        def provider() -> Any:
            return build("feedback_provider", "openai", model="any", base_url=server.url, api_key=None)

        judges = {"judge": NamedJudge("judge", provider, Judging(concurrency=64))}
        judge_tasks(of, judges, ledger=Path(folder) / "rows.sqlite", seed=0, progress=lambda done: None)
        counts = server.statistics()
    return counts.prompt_tokens - counts.cached_tokens


def row(name: str, metric: str, value: float, target: float) -> dict[str, Any]:
    """A row as the JSON has it."""
    return {
        "name": name,
        "metric": metric,
        "value": round(value, 4),
        "unit": "",
        "target": target,
        "met": value <= target,
    }


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


if __name__ == "__main__":
    main()
