"""Shared prefixes: fewer tokens are run, and the log-probabilities are those of a full forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

from morlaif_transformers.prefixes import grouped, next_logprobs
from tests.helpers.local_judging import full_forward
from tests.helpers.tiny_models import tiny_model


def sliding_window_model() -> Any:
    """A model whose tokens see the last 8 alone: there a wrong place or a counted padding shows."""
    from transformers import MistralConfig, MistralForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        model = MistralForCausalLM(MistralConfig(vocab_size=300, sliding_window=8, **shape, **heads))
        for weight in model.parameters():
            weight.data.mul_(3.0)
    return model.eval()


MODELS = {"gpt2": lambda: tiny_model("gpt2"), "llama": lambda: tiny_model("llama"), "window": sliding_window_model}


# Grouping


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=12))
@settings(max_examples=300, deadline=None)
def test_groups_hold_every_row_once_and_share_what_is_common(rows: list[list[int]]) -> None:
    groups = grouped(rows)
    assert sorted(place for group in groups for place in group.places) == list(range(len(rows)))
    run = 0
    for group in groups:
        heads = {tuple(rows[place][: group.shared]) for place in group.places}
        assert len(heads) == 1
        longest = max(len(rows[place]) for place in group.places)
        assert all(len(rows[place]) > group.shared for place in group.places), "each has a token of its own"
        run += group.shared + len(group.places) * (longest - group.shared)
    assert run <= sum(map(len, rows)), "never more tokens than without sharing"


def test_both_orders_of_a_pair_are_groups_of_their_own() -> None:
    system, ab, ba = [1] * 5, [2, *range(10, 50)], [3, *range(50, 90)]
    rows = [[*system, *order, 9, question] for question in range(100, 112) for order in (ab, ba)]
    assert [(len(group.places), group.shared) for group in grouped(rows)] == [(12, 47), (12, 47)]
    alone = [*system, 4, *range(200, 240)]
    assert [(len(group.places), group.shared) for group in grouped([*rows, alone])] == [(12, 47), (12, 47), (1, 0)]


def test_no_requests_are_no_groups() -> None:
    assert grouped([]) == []


# The shared cache against a full forward


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("budget", [1, 60, 10_000])
def test_a_shared_prefix_changes_nothing(make: Any, budget: int) -> None:
    model = make()
    draw = torch.Generator().manual_seed(1)

    def some(n: int) -> list[int]:
        return torch.randint(3, 290, (n,), generator=draw).tolist()

    heads = [some(30), some(20)]
    rows = [[*head, *some(n)] for head in heads for n in (1, 5, 2, 12, 5)] + [some(7)]
    rows.append(rows[0])
    seen: dict[int, int] = {}
    with torch.no_grad():
        for group in grouped(rows):
            for places, logprobs in next_logprobs(model, rows, group, budget):
                assert len(places) == 1 or len(places) * max(len(rows[place]) for place in places) <= budget
                for place, found in zip(places, logprobs, strict=True):
                    seen[place] = group.shared
                    torch.testing.assert_close(found.exp(), full_forward(model, rows[place]).exp(), atol=1e-5, rtol=0)
    assert sorted(seen) == list(range(len(rows)))
    assert [seen[place] for place in (1, 6, 10)] == [30, 20, 0]


def test_the_model_is_left_as_it_was() -> None:
    model = tiny_model("llama")
    rows = [[5, 6, 7], [5, 6, 8]]
    with torch.no_grad():
        list(next_logprobs(model, rows, grouped(rows)[0], 100))
        assert model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape[1] == 3
        with pytest.raises(IndexError):
            list(next_logprobs(model, [[5, 6, 7], [5, 6, 10**6]], grouped(rows)[0], 100))
        assert model(input_ids=torch.tensor([[5, 6, 7]])).logits.shape[1] == 3
