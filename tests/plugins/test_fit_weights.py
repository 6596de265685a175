"""Weights from human choices: the fit against other solvers, planted truths, and the command on a real small run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from morlaif_analysis.fit_weights.ablation import ablate
from morlaif_analysis.fit_weights.choices import Choices, Doubles, draw, resamples, split
from morlaif_analysis.fit_weights.collinearity import correlated, variance_inflation
from morlaif_analysis.fit_weights.command import fit_weights
from morlaif_analysis.fit_weights.findings import findings
from morlaif_analysis.fit_weights.logistic_weights import (
    UNSHRUNK,
    accuracy,
    cross_validated,
    fit,
    folds,
    interval,
    log_loss,
    resampled,
)
from morlaif_analysis.fit_weights.measure import Plan, measure, weights_of
from morlaif_analysis.fit_weights.weights_file import weights_layer
from morlaif_core import Message, Preference, UserError, load_run, make_prompt
from morlaif_core.cli import cli
from morlaif_core.config import load_config
from tests.small_run import small

NAMES = ("one", "two", "three", "four", "five", "six")


def planted(
    beta: Sequence[float], m: int, seed: int, *, soft: bool = False, per_prompt: int = 1, mix: float = 0.0
) -> Choices:
    """Choices of people who weigh differences by ``beta``; mix: how far the principles share what they measure."""
    generator = np.random.default_rng(seed)
    d = generator.normal(size=(m, len(beta))) + mix * generator.normal(size=(m, 1))
    chance = expit(d @ np.array(beta))
    p = chance if soft else (generator.random(m) < chance).astype(np.float64)
    return Choices(d, p, tuple(f"p{row // per_prompt}" for row in range(m)))


def loss_of(choices: Choices, penalty: float) -> Any:
    """The penalised loss and its gradient, written anew and unstandardised."""
    square = np.mean(choices.differences**2, axis=0)

    def loss(beta: Doubles) -> tuple[float, Doubles]:
        z = choices.differences @ beta
        value = np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(z, 0) - choices.p_a * z)
        slope = choices.differences.T @ (1 / (1 + np.exp(-z)) - choices.p_a) / len(z)
        return float(value + penalty / 2 * np.sum(square * beta**2)), slope + penalty * square * beta

    return loss


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
def test_a_signed_fit_is_that_of_scikit_learn(penalty: float) -> None:
    from sklearn.linear_model import LogisticRegression

    choices = planted([1.0, -0.7, 0.2, 0.0], 500, 1, mix=0.8)
    scale = np.sqrt(np.mean(choices.differences**2, axis=0))
    known = LogisticRegression(C=1 / (500 * penalty), fit_intercept=False, tol=1e-12, max_iter=10_000)
    known.fit(choices.differences / scale, choices.p_a)
    np.testing.assert_allclose(fit(choices, penalty, signed=True), known.coef_[0] / scale, atol=1e-6)


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("soft", [False, True])
def test_a_fit_without_negative_coefficients_is_that_of_scipy(penalty: float, soft: bool) -> None:
    choices = planted([1.0, -0.7, 0.2, 0.0, -0.1], 500, 2, soft=soft, mix=0.8)
    found = fit(choices, penalty)
    options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-11}
    known = minimize(
        loss_of(choices, penalty), np.ones(5), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 5, options=options
    )
    np.testing.assert_allclose(found, known.x, atol=2e-5)
    assert loss_of(choices, penalty)(found)[0] <= known.fun + 1e-12
    assert found.min() == 0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), k=st.integers(1, 6), power=st.integers(-4, 2), signed=st.booleans())
def test_a_fit_fulfils_the_conditions_of_a_minimum(seed: int, k: int, power: int, signed: bool) -> None:
    beta = np.random.default_rng(seed).normal(size=k).tolist()
    choices = planted(beta, 80, seed, mix=seed % 3)
    found = fit(choices, 10.0**power, signed=signed)
    gradient = loss_of(choices, 10.0**power)(found)[1]
    if signed:
        assert np.abs(gradient).max() < 1e-7
    else:
        assert (found >= 0).all()
        assert (gradient > -1e-7).all()
        assert np.abs(gradient[found > 0]).max(initial=0) < 1e-7


def test_separable_choices_have_a_finite_fit() -> None:
    d = np.array([[1.0, 0.0], [2.0, 1.0], [0.5, -1.0]] * 20)
    found = fit(Choices(d, np.ones(60), tuple(map(str, range(60)))), 1e-4)
    assert np.isfinite(found).all()
    assert found[0] > 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), signed=st.booleans())
def test_which_response_is_a_does_not_matter(seed: int, signed: bool) -> None:
    choices = planted([0.8, -0.3, 0.1], 60, seed, soft=True)
    turned = np.random.default_rng(seed).random(60) < 0.5
    sign = np.where(turned, -1.0, 1.0)
    other = Choices(
        choices.differences * sign[:, None], np.where(turned, 1 - choices.p_a, choices.p_a), choices.prompts
    )
    np.testing.assert_allclose(fit(choices, 1e-2, signed=signed), fit(other, 1e-2, signed=signed), atol=1e-8)


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


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    scale=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3),
    signed=st.booleans(),
)
def test_the_scale_of_a_principle_is_folded_back(seed: int, scale: list[float], signed: bool) -> None:
    choices = planted([0.8, -0.3, 0.1], 60, seed)
    scaled = Choices(choices.differences * np.array(scale), choices.p_a, choices.prompts)
    np.testing.assert_allclose(
        fit(scaled, 1e-2, signed=signed) * np.array(scale), fit(choices, 1e-2, signed=signed), atol=1e-7
    )


def test_counts_are_repeated_rows() -> None:
    choices = planted([0.8, -0.3, 0.1], 50, 4)
    counts = np.arange(50) % 4
    repeated = choices.rows(np.repeat(np.arange(50), counts))
    np.testing.assert_allclose(fit(choices, 1e-2, counts=counts.astype(float)), fit(repeated, 1e-2), atol=1e-9)


def test_a_principle_that_never_differs_gets_nothing() -> None:
    choices = planted([0.8, 0.3], 100, 5)
    flat_one = Choices(np.column_stack([choices.differences, np.zeros(100)]), choices.p_a, choices.prompts)
    np.testing.assert_allclose(fit(flat_one, 1e-2), [*fit(choices, 1e-2), 0.0], atol=1e-9)


def test_log_loss_and_accuracy() -> None:
    choices = Choices(np.array([[1.0], [2.0], [0.0], [3.0]]), np.array([1.0, 0.2, 1.0, 0.5]), ("a", "b", "c", "d"))
    terms = [np.log1p(np.exp(-1)), np.log1p(np.exp(2)) - 0.4, np.log(2), np.log1p(np.exp(3)) - 1.5]
    assert log_loss(choices, np.array([1.0])) == pytest.approx(np.mean(terms))
    assert accuracy(choices, np.array([1.0])) == 0.5  # right, wrong, neither; the undecided does not count
    assert np.isnan(accuracy(choices.rows(np.array([3])), np.array([1.0])))


def test_bootstrap_intervals_cover_planted_weights() -> None:
    truth = np.array([0.9, 0.4, -0.3])
    covered = []
    for seed in range(40):
        choices = planted(truth.tolist(), 500, seed, per_prompt=2, mix=0.5)
        draws = resampled(choices, UNSHRUNK, seed, 200, signed=True)
        ends = np.array(interval(draws, fit(choices, UNSHRUNK, signed=True)))
        covered.append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    assert 0.91 <= np.mean(covered) <= 0.99


def test_a_penalty_is_chosen_that_predicts() -> None:
    losses = cross_validated(planted([0.0] * 8, 100, 17), 0)  # nothing to learn: the flatter, the better
    assert min(losses, key=losses.__getitem__) >= 1
    losses = cross_validated(planted([2.0, 1.0], 1000, 17), 0)
    assert min(losses, key=losses.__getitem__) <= 1e-2


def test_intervals_of_resamples() -> None:
    draws = np.linspace([0.0, 0.0], [40.0, 4.0], 41)
    assert interval(draws) == [pytest.approx([1, 39]), pytest.approx([0.1, 3.9])]
    assert interval(draws, np.array([30.0, 2.0])) == [pytest.approx([21, 59]), pytest.approx([0.1, 3.9])]


def test_whole_prompts_are_resampled_and_kept_in_one_fold() -> None:
    choices = planted([1.0], 90, 6, per_prompt=3)
    for counts in resamples(choices, 0, 20):
        by_prompt = counts.reshape(30, 3)
        assert (by_prompt == by_prompt[:, :1]).all()
        assert counts.sum() == 90
    for train, test in folds(choices, 0):
        assert not set(choices.groups[train]) & set(choices.groups[test])
    assert resampled(choices, 1e-2, 3, 5) == pytest.approx(resampled(choices, 1e-2, 3, 5))


def test_held_out_prompts_are_a_fifth_drawn_by_hash() -> None:
    choices = planted([1.0], 200, 7, per_prompt=2)
    train, test = split(choices)
    assert not set(train.prompts) & set(test.prompts)
    assert len(test.p_a) == 40
    turned = choices.rows(np.arange(200)[::-1].copy())
    assert set(split(turned)[1].prompts) == set(test.prompts)


def test_labels_are_drawn_whatever_their_order_and_sides() -> None:
    prompts = [make_prompt([Message("user", f"question {number}")]) for number in range(40)]
    labels = [Preference(prompt, f"{prompt.id} yes", f"{prompt.id} no", 1.0) for prompt in prompts for _ in "ab"]
    sides = [Preference(item.prompt, item.b, item.a, 0.0) for item in reversed(labels)]
    drawn = draw(labels, 10)
    assert [item.prompt for item in drawn] == [item.prompt for item in draw(sides, 10)]
    assert drawn != labels[:10]
    assert len(draw(labels, 1000)) == 80


@pytest.mark.parametrize("signed", [False, True])
def test_gains_are_shapley_values(signed: bool) -> None:
    choices = planted([1.0, 0.5, -0.6, 0.1], 200, 8, mix=0.7)
    found = ablate(choices, 1e-2, 0, 200, signed=signed)
    parts = [(choices.rows(train), choices.rows(test)) for train, test in folds(choices, 0)]

    def value(members: tuple[int, ...]) -> float:
        if not members:
            return 0.5
        fits = [fit(train.columns(members), 1e-2, signed=signed) for train, _ in parts]
        right = [
            accuracy(test.columns(members), beta) * len(test.p_a) for (_, test), beta in zip(parts, fits, strict=True)
        ]
        return sum(right) / 200

    k = 4
    for principle in range(k):
        others = [place for place in range(k) if place != principle]
        known = sum(
            factorial(size)
            * factorial(k - size - 1)
            / factorial(k)
            * (value(tuple(sorted((*some, principle)))) - value(some))
            for size in range(k)
            for some in combinations(others, size)
        )
        assert found.gains[principle] == pytest.approx(known, abs=1e-9)
    assert found.orders == factorial(k)
    for size in range(k + 1):
        assert found.curve[size] == pytest.approx(np.mean([value(some) for some in combinations(range(k), size)]))


def test_gains_of_random_orders_sum_to_the_accuracy_of_all() -> None:
    choices = planted([1.0, 0.5, -0.6, 0.1, 0.0, 0.2], 200, 9)
    found = ablate(choices, 1e-2, 0, 20)
    assert found.orders == 20
    assert found.curve[0] == 0.5
    assert found.gains.sum() == pytest.approx(found.curve[-1] - 0.5)
    assert ablate(choices, 1e-2, 1, 20).curve[-1] == pytest.approx(found.curve[-1], abs=0.06)


def test_intervals_of_gains_cover_those_of_many_choices() -> None:
    truth = ablate(planted([0.9, 0.3], 20_000, 99), 1e-3, 0, 2)
    covered = []
    for seed in range(40):
        found = ablate(planted([0.9, 0.3], 400, seed), 1e-3, 0, 2)
        covered.append(np.abs(found.gains - truth.gains) <= found.reach)
    assert 0.85 <= np.mean(covered) <= 1.0


def test_variance_inflation_is_the_diagonal_of_the_inverse_correlation() -> None:
    d = planted([0.0] * 4, 300, 10, mix=1.0).differences
    length = np.linalg.norm(d, axis=0)
    known = np.diag(np.linalg.inv((d / length).T @ (d / length)))
    np.testing.assert_allclose(np.array(variance_inflation(d), dtype=float), known, rtol=1e-9)
    assert variance_inflation(np.column_stack([d, d[:, 0] - d[:, 1]]))[:2] == [None, None]
    assert variance_inflation(np.column_stack([d[:, :1], np.zeros(300)])) == [pytest.approx(1.0), None]


def test_weights_sum_to_one() -> None:
    np.testing.assert_allclose(weights_of(np.array([2.0, -1.0, 6.0, 1e-9])), [0.25, 0, 0.75, 0])
    assert not weights_of(np.array([-1.0, 0.0])).any()


def report(choices: Choices, *, signed: bool = False) -> dict[str, Any]:
    """All numbers with what they say."""
    found = measure(choices, NAMES[: choices.differences.shape[1]], Plan(0, 200, 24, signed))
    return {**found, "findings": findings(found)}


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


def test_weights_and_slope_are_those_planted() -> None:
    found = report(planted([0.9, 0.3], 2000, 13, soft=True))
    assert found["slope"]["mean"] == pytest.approx(1.2, abs=0.01)
    assert found["principles"]["one"]["weight"] == pytest.approx(0.75, abs=0.01)
    assert found["slope"]["ci95"][0] <= found["slope"]["mean"] <= found["slope"]["ci95"][1]


def test_held_out_figures_are_those_of_the_choices() -> None:
    choices = planted([0.9, 0.3], 2000, 13)
    found = report(choices)
    train, test = split(choices)
    beta = fit(train, found["penalty"]["chosen"])
    held_out = found["held_out"]
    assert held_out["fitted"]["accuracy"]["mean"] == accuracy(test, beta)
    assert held_out["fitted"]["log_loss"]["mean"] == pytest.approx(log_loss(test, beta))
    assert held_out["equal"]["accuracy"]["mean"] == accuracy(test, np.ones(2))
    assert held_out["best_single"]["principle"] == "one"
    assert held_out["best_single"]["accuracy"]["mean"] == accuracy(test, np.array([1.0, 0.0]))
    saved = held_out["best_single"]["log_loss_gain"]
    alone = fit(train.columns([0]), 1e-4)[0]
    assert saved["mean"] == pytest.approx(log_loss(test, np.array([alone, 0.0])) - log_loss(test, beta))
    assert saved["ci95"][0] < saved["mean"] < saved["ci95"][1]
    low, high = held_out["fitted"]["accuracy"]["ci95"]
    assert high - low == pytest.approx(
        2 * 1.96 * np.sqrt(accuracy(test, beta) * (1 - accuracy(test, beta)) / 400), rel=0.2
    )
    assert "own" not in held_out


def test_too_few_choices_are_refused_with_numbers() -> None:
    with pytest.raises(UserError, match=r"40 decided ones to fit on \(at least 60 are needed for 6 principles\)"):
        measure(planted([1.0] * 6, 50, 14), NAMES, Plan(0))


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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real run up to its preference models, one of them learnt from people."""
    out = tmp_path_factory.mktemp("fit-weights") / "run"
    terms = (
        "principles={helpfulness: {judge: human}, politeness: {threshold: {quantile: 0.4}, priority: 3}, "
        "detail: {judge: rules, weight: 2.0}, conciseness: {threshold: -0.5}}"
    )
    sizes = "prompts={pm: 60, validation: 0.25, calibration: 20, rl: 360, evaluation: 8}"
    small(
        out, terms, sizes, "dataset.prompts=700", "pairs.source=dataset", "preference_model.epochs=3", until="train-pms"
    )
    return out


def called(run: Path, *arguments: str) -> Result:
    """The command as it is called, quick."""
    quick = ("--resamples", "100", "--orders", "6")
    return CliRunner().invoke(fit_weights, [str(run), *quick, *arguments])


def test_the_command_saves_a_layer_that_a_run_takes(run: Path) -> None:
    result = called(run, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found == json.loads((run / "weights" / "weights.json").read_text(encoding="utf-8"))
    assert found["choices"]["n"] > 350
    assert list(found["principles"]) == ["politeness", "detail", "conciseness"]
    assert list(found["left_out"]) == ["helpfulness"]
    assert found["held_out"].keys() == {"fitted", "equal", "own", "best_single"}
    before = load_config([str(run / "run.yaml")], alone=True).settings
    after = load_config([str(run / "run.yaml"), str(run / "weights" / "weights.yaml")], alone=True).settings
    for name, terms in after.principles.items():
        weight = found["principles"][name]["weight"] if name in found["principles"] else 0.0
        assert terms.weight == pytest.approx(weight, abs=1e-6)
        assert terms.model_copy(update={"weight": 0}) == before.principles[name].model_copy(update={"weight": 0})
    assert sum(terms.weight for terms in after.principles.values()) == pytest.approx(1, abs=1e-5)
    assert before.model_copy(update={"principles": {}}) == after.model_copy(update={"principles": {}})
    assert not [file for file in (run / "weights").iterdir() if file.name.startswith(".")]


def test_what_the_fitted_weights_change_is_the_policy_alone(run: Path) -> None:
    assert called(run).exit_code == 0
    layers = [str(run / "run.yaml"), str(run / "weights" / "weights.yaml")]
    checked = CliRunner().invoke(cli, ["check", *layers])
    assert checked.exit_code == 0, checked.output
    assert "weights.yaml" in checked.output
    before = load_run(run).manifest["stages"]
    again = CliRunner().invoke(cli, ["run", *layers, "--out", str(run), "--until", "train-pms"])
    assert again.exit_code == 0, again.output
    assert load_run(run).manifest["stages"] == before
    assert not (run / "replaced").exists()


def test_the_command_prints_what_it_found(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "mine.yaml"
    result = called(run, "--out", str(file), "--signed", "--pairs", "300")
    assert result.exit_code == 0, result.output
    for text in ("300 human choices", "equal weights", "best single:", "slope", "helpfulness is left out", str(file)):
        assert text in result.stdout
    assert all(
        terms["weight"] >= 0 for terms in yaml.safe_load(file.read_text(encoding="utf-8"))["principles"].values()
    )


def test_the_command_refuses_what_it_cannot_learn_from(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = called(run, "--pairs", "30")
    assert isinstance(few.exception, UserError)
    assert "too few human choices" in str(few.exception)
    assert called(run).exit_code == 0
    with monkeypatch.context() as patch:  # people who choose the opposite of all that the principles prefer
        patch.setattr("morlaif_analysis.fit_weights.command._differences", _opposed)
        opposed = called(run)
    assert isinstance(opposed.exception, UserError)
    assert "no YAML is written" in str(opposed.exception)
    assert not (run / "weights" / "weights.yaml").exists()


def _opposed(bench: Any, labels: Sequence[Preference], names: Sequence[str]) -> Doubles:
    sign = np.array([item.p_a - 0.5 for item in labels])[:, None]
    return np.asarray(-sign * np.linspace(1, 2, len(names)))


def test_a_data_set_without_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("morlaif_demo.corpus.DemoDataset.preferences", lambda dataset, split: iter(()))
    small(tmp_path / "run", until="sample")
    result = called(tmp_path / "run")
    assert isinstance(result.exception, UserError)
    assert "'demo' has no human labels" in str(result.exception)


def test_a_run_of_human_labels_alone_is_refused(run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    text = (copy / "run.yaml").read_text(encoding="utf-8")
    (copy / "run.yaml").write_text(text.replace("judge: rules", "judge: human"), encoding="utf-8")
    result = called(copy)
    assert isinstance(result.exception, UserError)
