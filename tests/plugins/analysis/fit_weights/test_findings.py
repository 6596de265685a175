"""All that is said of fitted weights: numbers, held-out comparison, sentences, the layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from morlaif_analysis.fit_weights.choices import Choices, split
from morlaif_analysis.fit_weights.collinearity import correlated
from morlaif_analysis.fit_weights.findings import findings, recommended
from morlaif_analysis.fit_weights.measure import Plan, measure, weights_of
from morlaif_analysis.fit_weights.show_weights import show_weights
from morlaif_analysis.fit_weights.weights_file import weights_layer
from morlaif_core import UserError
from tests.helpers.planted_choices import NAMES, planted, report


def test_swapping_responses_changes_no_number_of_the_report() -> None:
    choices = planted([0.8, -0.3, 0.1], 300, 3, per_prompt=2)
    other = Choices(-choices.differences, 1 - choices.p_a, choices.prompts)
    plan = Plan(0, resamples=100, orders=6, own=np.array([0.2, 0.3, 0.5]))
    one, two = (flat(measure(item, NAMES[:3], plan)) for item in (choices, other))
    assert one.keys() == two.keys()
    assert one == pytest.approx(two, abs=1e-6)


def flat(value: Any, path: str = "") -> dict[str, float]:
    """All numbers of nested JSON by path."""
    if isinstance(value, dict):
        return {key: item for name in value for key, item in flat(value[name], f"{path}/{name}").items()}
    if isinstance(value, list):
        return {key: item for place, part in enumerate(value) for key, item in flat(part, f"{path}/{place}").items()}
    return {path: value} if isinstance(value, (int, float)) else {}


def test_weights_sum_to_one() -> None:
    np.testing.assert_allclose(weights_of(np.array([2.0, -1.0, 6.0, 1e-9])), [0.25, 0, 0.75, 0])
    assert not weights_of(np.array([-1.0, 0.0])).any()


def test_weights_and_slope_are_those_planted() -> None:
    found = report(planted([0.9, 0.3], 2000, 13, soft=True))
    assert found["slope"]["mean"] == pytest.approx(1.2, abs=0.01)
    assert found["principles"]["one"]["weight"] == pytest.approx(0.75, abs=0.01)
    assert found["slope"]["ci95"][0] <= found["slope"]["mean"] <= found["slope"]["ci95"][1]


def test_too_few_choices_are_refused_with_numbers() -> None:
    with pytest.raises(UserError, match=r"40 decided ones to fit on \(at least 60 are needed for 6 principles\)"):
        measure(planted([1.0] * 6, 50, 14), NAMES, Plan(0))


@pytest.mark.parametrize("signed", [False, True])
def test_who_hurts_and_who_adds_nothing_is_named(signed: bool) -> None:
    found = report(planted([1.0, -0.6, 0.0, 0.7], 1500, 11), signed=signed)
    said = {item["principle"]: item for item in found["findings"] if item["kind"] in ("hurts", "zero", "nothing")}
    assert set(said) == {"two", "three"}
    assert said["two"]["kind"] == "hurts"
    number = f"{found['principles']['two']['signed']['coefficient']:+.3f}"
    assert "two hurts" in said["two"]["text"]
    assert number in said["two"]["text"]
    assert said["three"]["kind"] in ("zero", "nothing")
    assert found["principles"]["two"]["weight"] == 0
    assert found["principles"]["two"]["sign_stability"] > 0.99
    assert sum(block["weight"] for block in found["principles"].values()) == pytest.approx(1)
    assert (found["principles"]["two"]["coefficient"] < -0.3) == signed


def test_a_copy_is_named_and_shares_the_gain() -> None:
    choices = planted([1.0, 0.4], 1500, 12)
    copy = choices.differences[:, :1] + 0.1 * np.random.default_rng(0).normal(size=(1500, 1))
    found = report(Choices(np.column_stack([choices.differences, copy]), choices.p_a, choices.prompts))
    (said,) = (item for item in found["findings"] if item["kind"] == "correlated")
    assert "one" in said["text"]
    assert "three" in said["text"]
    assert found["principles"]["one"]["vif"] > 10
    assert found["principles"]["three"]["vif"] > 10
    assert found["principles"]["two"]["vif"] < 2
    gains = {name: block["gain"]["mean"] for name, block in found["principles"].items()}
    assert gains["one"] == pytest.approx(gains["three"], abs=0.03)
    assert correlated(np.column_stack([copy, -copy])) == [(0, 1, pytest.approx(-1.0))]


def test_an_opposite_and_a_principle_that_never_differs_are_named() -> None:
    choices = planted([1.0, 0.4], 400, 16)
    d = np.column_stack([choices.differences, -choices.differences[:, 1], np.zeros(400)])
    found = report(Choices(d, choices.p_a, choices.prompts))
    said = {(item["kind"], item["principle"]): item["text"] for item in found["findings"]}
    assert "two and three measure nearly the opposite (correlation -1.00): the difference" in said["correlated", "two"]
    assert "four never differs" in said["constant", "four"]
    assert [block["vif"] for block in found["principles"].values()] == [pytest.approx(1.0, abs=0.1), None, None, None]


def test_the_layer_quotes_names_and_keeps_terms(tmp_path: Path) -> None:
    found = report(planted([0.9, 0.3], 300, 15))
    found["principles"] = dict(zip(("no", "detail"), found["principles"].values(), strict=True))
    terms = {
        "no": {"judge": "rules", "weight": 3.0, "threshold": {"quantile": 0.5}, "priority": 2},
        "detail": {"judge": None, "weight": 1.0, "threshold": 0.25, "priority": None},
        "politeness": {"judge": "human", "weight": 1.0, "threshold": {"win_rate": 0.6}, "priority": 7},
    }
    principles = yaml.safe_load(weights_layer(found, terms, "demo", tmp_path / "weights.yaml"))["principles"]
    assert list(principles) == ["no", "detail", "politeness"]
    assert principles["no"] == terms["no"] | {"weight": round(found["principles"]["no"]["weight"], 6)}
    assert principles["detail"] == {"weight": round(found["principles"]["detail"]["weight"], 6), "threshold": 0.25}
    assert principles["politeness"] == terms["politeness"] | {"weight": 0.0}


def test_the_layer_says_judged_of_judged_principles_alone(tmp_path: Path) -> None:
    found = report(planted([0.9, -0.6], 600, 15))
    terms = {name: {"judge": judge} for name, judge in (("one", "rules"), ("two", "rules"), ("people", "human"))}
    lines = weights_layer(found, terms, "demo", tmp_path / "weights.yaml").splitlines()
    said = {lines[place + 1].split(":")[0].strip(): line for place, line in enumerate(lines) if line.startswith("  #")}
    assert "judged, trained and logged, but not in the reward" in said["two"]
    assert "judged" not in said["people"]
    assert "trained and logged, but not in the reward" in said["people"]


def said_of(found: dict[str, Any], *kinds: str) -> list[str]:
    """The sentences of these kinds, said anew."""
    return [item["text"] for item in findings(found) if item["kind"] in kinds]


@pytest.mark.parametrize(("key", "by"), [("gain", "by accuracy"), ("log_loss_gain", "by log loss")])
def test_a_fit_that_predicts_worse_is_said_to(key: str, by: str) -> None:
    found = report(planted([0.9, 0.3], 400, 15))
    found["held_out"]["equal"] = {
        "gain": {"mean": 0.0, "ci95": [-0.02, 0.02]},
        "log_loss_gain": {"mean": 0.0, "ci95": [-0.02, 0.02]},
    }
    (text,) = said_of(found, "worse", "no_better")
    assert "80 held-out choices the fitted weights are not shown to be better than equal ones" in text
    found["held_out"]["equal"][key] = {"mean": -0.02, "ci95": [-0.03, -0.01]}
    (text,) = said_of(found, "worse", "no_better")
    assert f"predict worse than equal ones {by}: " in text
    assert "-0.020 [-0.030, -0.010]" in text
    found["held_out"]["equal"] = {
        "gain": {"mean": -0.02, "ci95": [-0.03, -0.01]},
        "log_loss_gain": {"mean": -0.02, "ci95": [-0.03, -0.01]},
    }
    (text,) = said_of(found, "worse", "no_better")
    assert "by accuracy and log loss: " in text


def test_who_hurts_does_so_by_its_interval_and_by_its_sign() -> None:
    found = report(planted([1.0, -0.6, 0.7], 1500, 11))
    assert [text.split()[0] for text in said_of(found, "hurts")] == ["two"]
    found["principles"]["two"]["sign_stability"] = 0.92
    assert not said_of(found, "hurts")
    (text,) = said_of(found, "zero", "nothing")
    assert "its sign in 92% of the resamples alone" in text
    found["principles"]["two"] |= {"sign_stability": 1.0, "signed": {"coefficient": -0.6, "ci95": [-1.2, 0.0]}}
    assert not said_of(found, "hurts")


def test_who_adds_does_so_by_its_interval_and_by_its_sign() -> None:
    found = report(planted([1.0, 0.7], 1500, 11))
    assert not said_of(found, "zero", "nothing")
    found["principles"]["two"] |= {
        "signed": {"coefficient": 2.065, "ci95": [0.345, 4.704]},
        "sign_stability": 0.92,
        "gain": {"mean": 0.01, "ci95": [-0.01, 0.03]},
    }
    (text,) = said_of(found, "nothing")
    assert "two is not shown to add anything: signed coefficient +2.065 [+0.345, +4.704]" in text
    found["principles"]["two"]["sign_stability"] = 0.98
    assert not said_of(found, "nothing")


def test_a_principle_that_lowers_accuracy_is_named_for_that() -> None:
    found = report(planted([1.0, 0.7], 1500, 11))
    found["principles"]["two"]["gain"] = {"mean": -0.02, "ci95": [-0.03, -0.01]}
    assert not said_of(found, "hurts")
    assert said_of(found, "lowers") == [
        "two lowers accuracy: with it, cross-validated accuracy changes by -0.020 [-0.030, -0.010]"
    ]


def test_few_choices_are_warned_of() -> None:
    choices = planted([1.0, 0.7, 0.2], 110, 11)  # 88 of them are fitted on
    choices.p_a[:3] = 0.5
    decided = int(split(choices)[0].decided.sum())
    (text,) = said_of(report(choices), "few")
    assert f"{decided} decided choices were fitted on for 3 principles" in text
    assert not said_of(report(planted([1.0, 0.7, 0.2], 113, 11)), "few")  # 90


@pytest.mark.parametrize(("beta", "text"), [([1.0], "over 1 order:"), ([1.0, 0.5], "over 2 orders:")])
def test_orders_are_counted(beta: list[float], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_weights({**report(planted(beta, 300, 3)), "left_out": {}, "failed": {"choices": 0}})
    assert text in capsys.readouterr().out


def test_weights_are_recommended_where_they_predict_no_worse_than_equal_ones() -> None:
    assert report(planted([1.2, 0.0], 1500, 1))["recommended"]
    assert report(planted([0.8], 300, 2))["recommended"], "of one principle, both are the same"
    # People who weigh all alike, and few of them: what was fitted is noise.
    saved = [report(planted([1.0] * 4, 130, seed)) for seed in range(12)]
    gains = [item["held_out"]["equal"]["log_loss_gain"]["mean"] for item in saved]
    assert [item["recommended"] for item in saved] == [gain >= 0 for gain in gains]
    assert 3 <= sum(gain < 0 for gain in gains) <= 9


def test_weights_that_lose_accuracy_for_sure_are_not_recommended() -> None:
    equal = {"gain": {"mean": -0.1, "ci95": [-0.15, -0.05]}, "log_loss_gain": {"mean": 0.001, "ci95": [-0.01, 0.01]}}
    assert not recommended({"held_out": {"equal": equal}})
    equal["gain"]["ci95"] = [-0.2, 0.01]
    assert recommended({"held_out": {"equal": equal}})
