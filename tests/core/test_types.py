"""Values: a response that was cut off is another one than the same text that ended."""

from __future__ import annotations

import pickle

from morlaif_core import CutOff, Message, content_hash, distinct_pairs, make_pair, make_prompt, response_key

PROMPT = make_prompt([Message("user", "Why?")])


def test_one_text_that_ended_and_that_was_cut_off_are_two_responses() -> None:
    assert response_key("Because") != response_key(CutOff("Because")) == ("Because", False)
    assert response_key(pickle.loads(pickle.dumps(CutOff("Because")))) == response_key(CutOff("Because"))
    # As text it is what it says.
    assert CutOff("Because") == "Because"
    assert content_hash(CutOff("Because")) == content_hash("Because")


def test_pairs_are_told_apart_by_what_was_cut_off() -> None:
    texts = "Because", CutOff("Because")
    pairs = [make_pair(PROMPT, a, b) for a in (*texts, "No.") for b in (*texts, "No.")]
    assert len({pair.id for pair in pairs}) == len(pairs) == 9
    assert len(distinct_pairs(pairs)) == 6
    assert [pair.identical for pair in pairs].count(True) == 3
    assert make_pair(PROMPT, "Because", "No.").id == content_hash("pair", PROMPT.id, "Because", "No.")
