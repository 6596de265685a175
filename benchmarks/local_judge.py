"""How much faster the judge `transformers` is for sharing prefixes, against one full forward per request.

    python benchmarks/local_judge.py [--quick] [--json FILE]

SmolLM2-135M (plugin smollm2) judges pairs under the 12 shipped principles in both orders, in float32. The texts of a pair
are padded until its requests begin with 512 tokens in common; what follows is as long as the shipped questions make it,
then, the worst case allowed, 80 tokens each. Both sides encode the same requests and read the same labels; they take
turns, pair by pair. Threads: OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
import yaml
from tables import print_rows, write_rows

from morlaif_core import Example, Message, Principle, Request, ResponsePair, build, make_pair, make_prompt
from morlaif_core.config.judge_settings import Judging
from morlaif_core.config.principles import known_principles, pick_principles
from morlaif_core.config.shipped_files import bundle
from morlaif_core.feedback.answers.reading import label_mass
from morlaif_core.feedback.asking.requests import asking_of, build_request
from morlaif_core.plugins.manager import Plugins
from morlaif_transformers.judge import TransformersJudge
from morlaif_transformers.prefixes import Group, grouped

SHARED, OWN = 512, 80
RATIO, DIFFERENCE = 4.0, 1e-4


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 pairs instead of 5")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    judge: TransformersJudge = build("feedback_provider", "transformers", model="smollm2", dtype="float32")
    names = yaml.safe_load(bundle("registry.yaml").read_text(encoding="utf-8"))["principles"]
    known = known_principles(Plugins.load())
    principles = [replace(item, phrasings=()) for item in pick_principles(names, known)]
    n = 2 if options.quick else 5
    rows: list[dict[str, Any]] = []
    notes = []
    for case, asked in (("shipped questions", principles), (f"{OWN} tokens", lengthened(judge, principles))):
        batches = [padded(judge, asked, example) for example in examples_of(principles)[:n]]
        rows += compare(judge, batches, f"{len(batches[0])} requests about a pair, {case}")
        notes.append(f"{case}: {lengths(judge, batches)}")
    print_rows([{key: _text(row.get(key)) for key in ("name", "metric", "value", "unit", "target")} for row in rows])
    print("\n" + "\n".join([f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}", *notes]))
    write_rows(options.json, rows)


def examples_of(principles: Sequence[Principle]) -> list[Example]:
    """The first example pair of each principle."""
    return [principle.examples[0] for principle in principles if principle.examples]


def requests(judge: TransformersJudge, pair: ResponsePair, principles: Sequence[Principle]) -> list[Request]:
    """All principles of a pair in both orders, as the core asks them."""
    asking = asking_of(judge.capabilities, Judging())
    return [build_request(pair, (item,), order, asking) for item in principles for order in ("ab", "ba")]


def padded(judge: TransformersJudge, principles: Sequence[Principle], example: Example) -> list[Request]:
    """All requests about a pair whose responses go on, word by word, until the requests share at most 512 tokens."""
    words = filler(principles)

    def of_length(n: int) -> list[Request]:
        ends = [" ".join(islice(cycle(words), start, start + n)) for start in (0, 40)]
        prompt = make_prompt([Message("user", example.prompt)])
        return requests(judge, make_pair(prompt, f"{example.a} {ends[0]}", f"{example.b} {ends[1]}"), principles)

    n = 0
    while max(shared(judge, of_length(n + 1))) <= SHARED:
        n += 1
    return of_length(n)


def lengthened(judge: TransformersJudge, principles: Sequence[Principle]) -> list[Principle]:
    """The principles with questions that go on until each request has 80 tokens of its own, or just fewer."""
    pair = make_pair(make_prompt([Message("user", "Why?")]), "Because.", "I do not know.")
    words = filler(principles)

    def own(asked: Sequence[Principle]) -> list[int]:
        batch = requests(judge, pair, asked)[::2]
        start = max(shared(judge, requests(judge, pair, principles)[::2]))
        return [len(judge.encode(request)) - start for request in batch]

    found = []
    for item in principles:
        longer = (f"{item.question} {' '.join(words[:n])}" for n in range(1, 80))
        candidates = [item, *(replace(item, question=question) for question in longer)]
        found.append([candidate for candidate in candidates if own([candidate])[0] <= OWN][-1])
    return found


def filler(principles: Sequence[Principle]) -> list[str]:
    """Words to pad texts with."""
    return " ".join(principle.question for principle in principles).split()


def shared(judge: TransformersJudge, batch: Sequence[Request]) -> list[int]:
    """Tokens that the requests of each order begin with."""
    return [group.shared for group in groups(judge, batch)]


def groups(judge: TransformersJudge, batch: Sequence[Request]) -> list[Group]:
    """How the judge groups requests."""
    return grouped([judge.encode(request) for request in batch])


def lengths(judge: TransformersJudge, batches: Sequence[Sequence[Request]]) -> str:
    """What the requests measure, in words. Raises ValueError where one has more of its own than the benchmark allows."""
    common = [count for batch in batches for count in shared(judge, batch)]
    own = [
        len(judge.encode(batch[place])) - group.shared
        for batch in batches
        for group in groups(judge, batch)
        for place in group.places
    ]
    if max(own) > OWN:
        raise ValueError(f"a request has {max(own)} tokens of its own, more than {OWN}")
    return f"{min(common)} to {max(common)} shared tokens, {min(own)} to {max(own)} of a request's own"


def compare(judge: TransformersJudge, batches: Sequence[Sequence[Request]], name: str) -> list[dict[str, Any]]:
    """Time both ways on each pair's requests, after a few to warm up."""
    model, labels = judge.model.load(), spellings(judge.model.tokenizer())

    def alone(batch: Sequence[Request]) -> list[Mapping[str, float]]:
        with model.use(None) as network:
            return [full_forward(network, judge.encode(request), labels) for request in batch]

    def together(batch: Sequence[Request]) -> list[Mapping[str, float]]:
        return [answer.top_logprobs[0] for answer in judge.ask_many(batch)]

    seconds: dict[str, list[float]] = {"prefix shared": [], "a full forward each": []}
    pairs: list[tuple[float, float]] = []
    together(batches[0][:2])
    alone(batches[0][:2])
    for batch in batches:
        found = timed(together, batch, seconds["prefix shared"])
        expected = timed(alone, batch, seconds["a full forward each"])
        pairs += [(p_first(one), p_first(other)) for one, other in zip(found, expected, strict=True)]
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    ratio = medians["a full forward each"] / medians["prefix shared"]
    return [
        *(row(name, f"{way}, median of {len(batches)}", value, "s") for way, value in medians.items()),
        row(name, "ratio", ratio, "x", RATIO, met=ratio >= RATIO),
        *_equal(name, pairs),
    ]


def _equal(name: str, pairs: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    difference = max(abs(one - other) for one, other in pairs)
    others = sum((one > 0.5) != (other > 0.5) for one, other in pairs)
    return [
        row(name, "largest difference in P(first)", difference, "", DIFFERENCE, met=difference <= DIFFERENCE),
        row(name, f"other verdicts of {len(pairs)}", others, "", 0, met=others == 0),
    ]


def timed(call: Callable[[Sequence[Request]], list[Any]], batch: Sequence[Request], into: list[float]) -> list[Any]:
    """Call, and note the seconds."""
    start = time.perf_counter()
    found = call(batch)
    into.append(time.perf_counter() - start)
    return found


def spellings(tokenizer: Any) -> dict[str, int]:
    """Every token that the core counts as a label."""
    texts = {tokenizer.decode([token]): token for token in range(len(tokenizer))}
    return {text: token for text, token in texts.items() if label_mass({text: -1.0})[:2] != (None, None)}


def full_forward(model: Any, ids: list[int], labels: Mapping[str, int]) -> dict[str, float]:
    """Log-probabilities of the labels by transformers alone: the whole request, the head on its last token."""
    logits = model(input_ids=torch.tensor([ids], device=model.device), logits_to_keep=1).logits[0, -1]
    values = logits.float().log_softmax(-1)[list(labels.values())]
    return dict(zip(labels, values.tolist(), strict=True))


def p_first(top: Mapping[str, float]) -> float:
    """Share of A in the label mass."""
    first, second, _ = label_mass(top)
    assert first is not None
    assert second is not None
    return first / (first + second)


def row(
    name: str, metric: str, value: float, unit: str, target: float | None = None, *, met: bool | None = None
) -> dict[str, Any]:
    """A row as the JSON has it."""
    return {"name": name, "metric": metric, "value": float(f"{value:.3g}"), "unit": unit, "target": target, "met": met}


def _text(value: Any) -> str:
    return "-" if value is None else str(value)


if __name__ == "__main__":
    main()
