"""Five rows of each layout that people's data sets have, and what they come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]
QUESTIONS = ("How do I calm dogs?", "Is rain wet?", "Why is the sky blue?", "Who wrote Emma?", "Can I eat snow?")


class Known(NamedTuple):
    """Rows, and P(the row's first response is better) of each; None: no pair."""

    rows: list[Json]
    p_a: list[float | None]


def _user(question: str) -> list[Json]:
    return [{"role": "user", "content": question}]


def _said(text: str) -> list[Json]:
    return [{"role": "assistant", "content": text}]


def _parts(text: str) -> list[Json]:
    return [{"type": "text", "text": text}]


def _ultrafeedback(question: str, helpful: tuple[str, str], honest: tuple[str, str]) -> Json:
    completions = [
        {
            "response": text,
            "overall_score": score,
            "annotations": {"helpfulness": {"Rating": helpful[n]}, "honesty": {"Rating": honest[n], "Rationale": "so"}},
        }
        for n, (text, score) in enumerate([("one", 3.0), ("two", 7.5)])
    ]
    return {"source": "own", "instruction": question, "completions": completions}


KNOWN = {
    "pku_saferlhf": Known(
        [
            {
                "prompt": q,
                "response_0": "one",
                "response_1": "two",
                "better_response_id": n % 2,
                "safer_response_id": int(n < 3),
            }
            for n, q in enumerate(QUESTIONS)
        ],
        [1.0, 0.0, 1.0, 0.0, 1.0],
    ),
    "helpsteer3": Known(
        [
            {"context": _user(q), "response1": "one", "response2": "two", "overall_preference": n}
            for q, n in zip(QUESTIONS, (-3, -1, 0, 2, 3), strict=True)
        ],
        [1.0, 2 / 3, 0.5, 1 / 6, 0.0],
    ),
    "hhh": Known(
        [
            {"input": q, "targets": {"choices": ["one", "two"], "labels": [first, 1 - first]}}
            for q, first in zip(QUESTIONS, (1, 0, 1, 0, 1), strict=True)
        ],
        [1.0, 0.0, 1.0, 0.0, 1.0],
    ),
    "arena": Known(
        [
            {"conversation_a": _user(q) + _said("one"), "conversation_b": _user(q) + _said("two"), "winner": winner}
            for q, winner in zip(QUESTIONS, ("model_a", "model_b", "tie", "tie (bothbad)", "model_b"), strict=True)
        ],
        [1.0, 0.0, 0.5, 0.5, 0.0],
    ),
    "ultrafeedback": Known(
        [
            _ultrafeedback(QUESTIONS[0], ("5", "2"), ("4", "4")),
            _ultrafeedback(QUESTIONS[1], ("2", "4"), ("3", "2")),
            _ultrafeedback(QUESTIONS[2], ("3", "2"), ("1", "2")),
            _ultrafeedback(QUESTIONS[3], ("1", "2"), ("N/A", "5")),
            _ultrafeedback(QUESTIONS[4], ("N/A", "5"), ("N/A", "N/A")),
        ],
        [1.0, 0.0, 0.5, 0.0, None],
    ),
    "kto": Known(
        [
            {"prompt": QUESTIONS[0], "completion": "one", "label": True},
            {"prompt": QUESTIONS[1], "completion": "two", "label": False},
            {"prompt": QUESTIONS[0], "completion": "two", "label": False},
            {"prompt": QUESTIONS[2], "completion": "one", "label": True},
            {"prompt": QUESTIONS[1], "completion": "one", "label": True},
        ],
        [1.0, 1.0],
    ),
    "sharegpt": Known(
        [
            {
                "conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": q}],
                "chosen": {"from": "gpt", "value": "one"},
                "rejected": {"from": "gpt", "value": "two"},
            }
            for q in QUESTIONS
        ],
        [1.0] * 5,
    ),
    "text_parts": Known(
        [
            {
                "prompt": [{"role": "user", "content": _parts(q)}],
                "chosen": [{"role": "assistant", "content": _parts("one")}],
                "rejected": [{"role": "assistant", "content": _parts("two")}],
            }
            for q in QUESTIONS
        ],
        [1.0] * 5,
    ),
    "messages": Known([{"messages": _user(q) + _said("one")} for q in QUESTIONS], [None] * 5),
    "sharegpt_unlabelled": Known(
        [{"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": "one"}]} for q in QUESTIONS],
        [None] * 5,
    ),
}


def write_rows(path: Path, rows: list[Json]) -> str:
    """Write rows as JSON lines, as one array for ``.json``, or as Parquet."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
