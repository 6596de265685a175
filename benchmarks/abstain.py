"""What a preference model learns where half of the pairs are none of its principle's business.

    python benchmarks/abstain.py [--quick] [--json FILE]

The principle is good manners. In half of the pairs one answer is polite and the other rude, whatever their lengths; in
the other half nobody shows any manners. A judge that may say "does not apply" does so there; the others must choose: the
longer answer, or by a coin. All judge the same pairs through the core, in both orders; real backends (`probe` and `lora`
on the demo's base model) learn what comes out. Measured on 1,000 new pairs to which the principle applies: accuracy,
and its difference between abstaining and choosing in the same seed (mean of five, Student's 95 % interval).
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from scipy import stats
from tables import print_rows, write_rows

from morlaif_core import (
    Answer,
    Capabilities,
    Message,
    Preference,
    Principle,
    Request,
    Target,
    build,
    make_pair,
    make_prompt,
)
from morlaif_core.config.judge_settings import Judging
from morlaif_core.feedback.judging import judge_tasks
from morlaif_core.feedback.types import NamedJudge, Task
from morlaif_core.models.backbones import LocalBackbones
from morlaif_core.models.rendering import ASSISTANT, hh_text
from morlaif_core.plugins.protocols import PMJob
from morlaif_core.types import ResponsePair
from morlaif_demo import grammar

MANNERS = Principle("manners", "Which response has the better manners?")
POLITE, RUDE = (
    (*grammar.POLITE_OPENERS, *grammar.POLITE_CLOSERS),
    (*grammar.INSULT_OPENERS, *grammar.INSULT_CLOSERS, *grammar.DISMISSIVE_OPENERS, *grammar.DISMISSIVE_CLOSERS),
)
SURE = 0.9
"""What each judge says of a pair that it decides, for the answer it prefers."""
TEST, SEEDS = 1000, 5
BACKENDS: dict[str, dict[str, Any]] = {"probe": {}, "lora": {"epochs": 3, "learning_rate": 3e-3, "minibatch": 16}}


def manners(text: str) -> int:
    """1 for polite, -1 for rude, 0 for neither."""
    return any(line in text for line in POLITE) - any(line in text for line in RUDE)


@dataclass(frozen=True)
class Judge:
    """Knows manners. elsewhere: P(first preferred) where there are none; None: it does not apply."""

    identity: str
    elsewhere: Callable[[Request], float] | None
    capabilities = Capabilities(reads="pair")

    async def ask(self, request: Request) -> Answer:
        """Prefer the better manners."""
        difference = manners(request.first) - manners(request.second)
        if difference:
            return Answer(p_first=SURE if difference > 0 else 1 - SURE)
        if self.elsewhere is None:
            return Answer(finish="not_applicable")
        return Answer(p_first=self.elsewhere(request))


def longer(request: Request) -> float:
    """Choose the longer answer; a tie where they are as long."""
    difference = len(request.first) - len(request.second)
    return 0.5 if difference == 0 else SURE if difference > 0 else 1 - SURE


def coin(request: Request) -> float:
    """Choose by the texts' hash, the same answer in both orders."""
    texts = sorted((request.first, request.second))
    heads = hashlib.sha256(repr(texts).encode()).digest()[0] % 2
    return SURE if request.first == texts[heads] else 1 - SURE


ABSTAINING = "does not apply"
JUDGES = {ABSTAINING: None, "the longer one": longer, "a coin": coin}


def some_pairs(rng: random.Random, n: int, on_topic: float) -> list[ResponsePair]:
    """Pairs of answers to the demo's questions; a share of them shows manners, which differ."""
    return [_pair(rng, rng.random() < on_topic) for _ in range(n)]


def _pair(rng: random.Random, on_topic: bool) -> ResponsePair:
    topic = rng.choice(grammar.TOPICS)
    task, thing = rng.choice(topic.tasks), rng.choice(topic.things)
    fill = {"ask": task.ask.format(x=thing)}
    prompt = make_prompt([Message("user", rng.choice(grammar.FRAMES).format(**fill))])
    bodies = []
    for _ in "ab":
        tips = rng.sample(task.tips, 2)
        first = rng.choice(grammar.ANSWERS).format(**fill, tip=tips[0].format(x=thing))
        more = (rng.choice(grammar.SECOND_TIPS).format(tip=tips[1].format(x=thing)), rng.choice(grammar.FILLERS))
        bodies.append([first, *(text.format(x=thing) for text in more[: rng.randrange(3)])])
    if on_topic:
        for body, lines in zip(bodies, rng.sample((POLITE, RUDE), 2), strict=True):
            body.insert(rng.choice((0, len(body))), rng.choice(lines))
    return make_pair(prompt, *(" ".join(body) for body in bodies))


def judged(pairs: Sequence[ResponsePair], name: str, folder: Path) -> list[Preference]:
    """Let one judge judge; what has no label is left out, as in a run."""
    # As in a run: equal pairs once, and none of equal answers.
    pairs = list({pair.id: pair for pair in pairs if pair.a != pair.b}.values())
    judge = NamedJudge(name, lambda: Judge(name, JUDGES[name]), Judging())
    tasks = [Task(pair, MANNERS, name) for pair in pairs]
    ledger = folder / "judgements.sqlite"
    verdicts = judge_tasks(tasks, {name: judge}, ledger=ledger, seed=0, progress=lambda *_: None)
    labelled = [(pair, verdict.p_a) for pair, verdict in zip(pairs, verdicts, strict=True)]
    return [Preference(pair.prompt, pair.a, pair.b, p_a) for pair, p_a in labelled if p_a is not None]


def accuracy(model: Any, pairs: Sequence[ResponsePair]) -> float:
    """Share of pairs whose polite answer scores higher."""
    prompts, texts = (
        [pair.prompt for pair in pairs for _ in "ab"],
        [text for pair in pairs for text in (pair.a, pair.b)],
    )
    scores = model.score(prompts, texts).values[:, 0].reshape(-1, 2)
    return fmean((a > b) == (manners(pair.a) > 0) for pair, (a, b) in zip(pairs, scores.tolist(), strict=True))


def make_base(folder: Path, steps: int) -> Target:
    """Train the demo's base model on exchanges of its own data set."""
    rows = build("dataset", "demo", prompts=4000).preferences("train")
    texts = (hh_text(row.prompt.messages) + ASSISTANT + " " + text for row in rows for text in (row.a, row.b))
    build("model", "demo-base", steps=steps).make(folder, texts, seed=0, report=_go)
    return Target(model=str(folder))


def _go(step: int, total: int, metrics: Any, generate: Any = None) -> Any:
    return "go"


def learnt(backend: str, pairs: int, seed: int, base: Target, folder: Path) -> dict[str, float]:
    """Train one preference model on each judge's labels of the same pairs; their accuracies on the same new pairs."""
    rng = random.Random(seed)
    train, test = some_pairs(rng, pairs, 0.5), some_pairs(rng, TEST, 1.0)
    backbones, found = LocalBackbones("cpu", 1), {}
    for name in JUDGES:
        out = folder / backend / f"{pairs}-{seed}" / name.replace(" ", "-")
        labels = {MANNERS.name: judged(train, name, out.parent)}
        builder = build("pm_backend", backend, **BACKENDS[backend])
        builder.train(PMJob((MANNERS,), labels, {MANNERS.name: []}, base, out, seed, _go, backbones))
        found[name] = accuracy(builder.load(out, (MANNERS.name,), base, backbones), test)
    return found


def compared(backend: str, pairs: int, runs: Sequence[dict[str, float]]) -> list[dict[str, Any]]:
    """A row for each way of choosing: accuracies, and the paired difference with its interval."""
    rows = []
    for name in JUDGES:
        if name != ABSTAINING:
            gains = [run[ABSTAINING] - run[name] for run in runs]
            reach = float(stats.t.ppf(0.975, len(gains) - 1)) * stdev(gains) / math.sqrt(len(gains))
            rows.append(
                {
                    "name": f"{backend}, {pairs} pairs, elsewhere {name}",
                    "abstaining": fmean(run[ABSTAINING] for run in runs),
                    "choosing": fmean(run[name] for run in runs),
                    "value": fmean(gains),
                    "ci95": [fmean(gains) - reach, fmean(gains) + reach],
                    "metric": "accuracy gained by abstaining",
                    "unit": "share",
                    "target": 0.0,
                    "met": fmean(gains) - reach > 0,
                }
            )
    return rows


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one size, `probe` alone, a base model of fewer steps")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    options = parser.parse_args()
    sizes, backends = ((200,), ["probe"]) if options.quick else ((100, 200, 400), list(BACKENDS))
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        base = make_base(folder / "base", 100 if options.quick else 600)
        for backend in backends:
            for pairs in sizes:
                runs = [learnt(backend, pairs, seed, base, folder) for seed in range(SEEDS)]
                rows += compared(backend, pairs, runs)
    shown = [
        {
            "preference model": row["name"],
            "abstaining": f"{row['abstaining']:.3f}",
            "choosing": f"{row['choosing']:.3f}",
            "gained, 95 % interval": f"{row['value']:+.3f} [{row['ci95'][0]:+.3f}, {row['ci95'][1]:+.3f}]",
        }
        for row in rows
    ]
    print(f"{SEEDS} seeds, half of the pairs off topic, accuracy on {TEST:,} pairs to which the principle applies")
    print_rows(shown)
    write_rows(options.json, rows)


if __name__ == "__main__":
    main()
