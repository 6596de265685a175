"""Configuration in layers: what is accepted, what is refused, and what each message says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from morlaif_core import UserError
from morlaif_core.cli.show_config import show_config
from morlaif_core.config.load import load_config
from morlaif_core.config.settings import WinRate
from morlaif_core.config.shipped_files import bundle
from morlaif_core.plugins.manager import Plugins
from tests.helpers.configurations import reloaded


def refused(load: Any, *arguments: Any, **keywords: Any) -> str:
    with pytest.raises(UserError) as raised:
        load(*arguments, **keywords)
    assert raised.value.exit_code == 2
    return str(raised.value)


def test_the_shipped_demo_is_valid_and_has_its_defaults(load: Any) -> None:
    config = load()
    assert config.name == "demo+mine"
    assert [item.name for item in config.principles] == ["politeness", "relevance", "helpfulness"]
    assert config.settings.reward.calibrate == "std"
    assert config.settings.prompts.rl == 1500
    assert config.block("dataset") == {"use": "demo"}
    assert config.judge_block("rules") == {"use": "rules"}


def test_layers_shipped_local_files_overrides_sets(load: Any, tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text("seed: 1\ngeneration: {max_new_tokens: 7, temperature: 2.0}\n")
    (tmp_path / "high.yaml").write_text("prompts: {pm: 50}\n")
    found = load("seed: 2\nprompts: {pm: 40, calibration: 30}\n", base=("demo", "high.yaml")).settings
    assert (found.seed, found.prompts.pm, found.prompts.calibration) == (2, 40, 30)
    assert (found.generation.max_new_tokens, found.generation.temperature) == (40, 1.0), "demo.yaml stands above"
    config = load("seed: 2\n", "seed=4", "prompts.pm=60", seed=3)
    assert (config.settings.seed, config.settings.prompts.pm) == (4, 60)
    assert config.layers.origin(("seed",)) == "--set seed"
    assert load("", seed=3).settings.seed == 3


def test_a_layer_below_is_seen_where_nothing_stands_above(load: Any, tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text("pairs: {per_prompt: 4}\n")
    config = load()
    assert config.settings.pairs.per_prompt == 4
    assert config.layers.origin(("pairs", "per_prompt")) == "registry.yaml"


def test_a_file_both_shipped_and_in_the_working_directory_is_read_once(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    from morlaif_core.config import load as module

    real = module.read_yaml
    monkeypatch.setattr(module, "read_yaml", lambda file, label: (read.append(str(file)), real(file, label))[1])
    home = bundle("registry.yaml")
    assert isinstance(home, Path)
    load_config(["demo"], plugins=plugins, folder=home.parent)
    assert len(read) == len(set(read)) == 2


def test_principles_of_a_file_replace_and_those_of_set_change(load: Any) -> None:
    assert [item.name for item in load("principles: [relevance]\n").principles] == ["relevance"]
    config = load("principles: {relevance: {weight: 2}, politeness: }\n", "principles.relevance.threshold=0.5")
    assert [item.name for item in config.principles] == ["relevance", "politeness"]
    assert config.settings.principles["relevance"].weight == 2
    assert config.settings.principles["relevance"].threshold == 0.5
    assert [item.name for item in load("", "principles=[detail]").principles] == ["detail"]
    assert [item.name for item in load("", "principles.relevance=null").principles] == ["politeness", "helpfulness"]
    assert [item.name for item in load("", principles=["detail"]).principles] == ["detail"]


def test_a_principle_of_the_working_directory_works_at_once(load: Any, tmp_path: Path) -> None:
    (tmp_path / "principles").mkdir()
    (tmp_path / "principles" / "self-doubt.yaml").write_text("question: Which response says what it does not know?\n")
    text = "judges: {server: {use: openai, model: m}}\nprinciples: {self_doubt: {judge: server}}\n"
    config = load(text)
    assert config.principles[0].name == "self-doubt"
    assert config.settings.judge_of("self-doubt") == "server"


def test_judges_and_mentions_of_them_may_be_spelt_with_hyphen_or_underscore(load: Any) -> None:
    config = load("principles: {helpfulness: {judge: gpt_35}}\njudge: gpt_35\nevaluation: {judge: gpt_35}\n")
    assert config.settings.judge_of("helpfulness") == "gpt-35"
    assert (config.settings.judge, config.settings.evaluation.judge) == ("gpt-35", "gpt-35")


def test_a_judges_own_judging_goes_before_the_runs(load: Any) -> None:
    text = "judging: {orders: one_random, concurrency: 3}\njudges: {rules: {judging: {concurrency: 5}}}\n"
    judging = load(text).settings.judging_of("rules")
    assert (judging.orders, judging.concurrency) == ("one_random", 5)


def test_stage_names_in_seeds(load: Any) -> None:
    settings = load("seeds: {train-policy: 7}\nseed: 1\n").settings
    assert (settings.seed_of("train_policy"), settings.seed_of("sample")) == (7, 1)
    assert "seeds" in refused(load, "seeds: {trian_policy: 7}\n")


def test_the_pm_base_is_the_target_without_its_adapter_unless_it_is_named(load: Any) -> None:
    settings = load("target: {lora: {r: 4}}\n").settings
    assert settings.target.lora is not None
    assert settings.pm_base == settings.target.model_copy(update={"lora": None})
    assert load("preference_model: {base: gpt2}\n").settings.pm_base.model == "gpt2"
    assert "lora" in refused(load, "preference_model: {base: {model: gpt2, lora: {r: 4}}}\n")


ALONE = "trainer: {responses_per_prompt: 1}"
"""One response to each prompt: no groups."""
BAD = [
    ("rewrd: {clip: 1}", ["rewrd: unknown key", "Did you mean 'reward'?", "[mine.yaml]"]),
    ("prompts: {calibraton: 3}", ["prompts.calibraton: unknown key", "Did you mean 'calibration'?", "[mine.yaml]"]),
    ("prompts: {pm: many}", ["prompts.pm: ", "integer", "'many'", "[mine.yaml]"]),
    ("seed: true", ["seed: a number is needed, not true", "[mine.yaml]"]),
    ("seed: 4294967296", ["seed: ", "less than or equal to 4294967295"]),
    ("seed: 1.0", ["seed: "]),
    ("seed: '1'", ["seed: "]),
    ("seeds: {judge: -1}", ["seeds.judge: ", "greater than or equal to 0", "[mine.yaml]"]),
    ("seeds: {judge: 4294967296}", ["seeds.judge: "]),
    ("seeds: {judge: true}", ["seeds.judge: "]),
    ("threads: 0", ["threads: ", "greater than or equal to 1", "[mine.yaml]"]),
    ("threads: 99999999999", ["threads: ", "less than or equal to 1024"]),
    ("threads: true", ["threads: a number is needed"]),
    ("trainer: {steps: true}", ["trainer.steps: a number is needed, not true", "[mine.yaml]"]),
    ("preference_model: {gradient_checkpointing: often}", ["preference_model.gradient_checkpointing: "]),
    ("principles: {relevance: {weight: true}}", ["principles.relevance.weight: a number is needed"]),
    ("rewrd: null", ["rewrd: unknown key", "[mine.yaml]"]),
    ("trainer: {stpes: null}", ["trainer.stpes: unknown key", "[mine.yaml]"]),
    ("trainer: null", ["trainer: must be given"]),
    ("seed: 0x_", ["mine.yaml:1: '0x_' cannot be read as int"]),
    ("\nseed: 2024-99-99", ["seed: ", "'2024-99-99'", "[mine.yaml]"]),
    ("prompts: {pm: 1}", ["prompts.pm: ", "greater than or equal to 2"]),
    ("seed: -1", ["seed: "]),
    ("target: 3", ["target: "]),
    ("prompts: 3", ["prompts: ", "[mine.yaml]"]),
    ("trainer: {stpes: 3}", ["trainer.stpes: unknown key", "Did you mean 'steps'?", "[mine.yaml]"]),
    ("trainer: {steps: x}", ["trainer.steps: ", "[mine.yaml]"]),
    ("scalarizer: {use: max_mon}", ["scalarizer.use: ", "'max_mon'", "Did you mean 'max_min'?", "[mine.yaml]"]),
    ("dataset: {use: demoo}", ["dataset.use: ", "Did you mean 'demo'?"]),
    ("dataset: [demo]", ["dataset: "]),
    ("trainer: {use: null}", ["trainer.use: must be given"]),
    ("target: {model: {steps: 3}}", ["target.model", "use: NAME"]),
    ("target: {model: {use: demo-bse}}", ["target.model.use: ", "Did you mean 'demo-base'?"]),
    ("target: {model: {use: demo-base, stpes: 3}}", ["target.model.stpes: unknown key", "'steps'", "[mine.yaml]"]),
    ("target: {lora: {rank: 3}}", ["target.lora.rank: unknown key", "Known keys: r, alpha"]),
    ("judge: openai", ["judge: 'openai' is a feedback provider", "judges: {openai: {use: openai}}", "[mine.yaml]"]),
    ("judge: ruls", ["judge: there is no judge 'ruls'", "Did you mean 'rules'?", "[mine.yaml]"]),
    (
        "principles: {relevance: {judge: gpt-3}}",
        ["principles.relevance.judge: ", "'gpt-3'", "Did you mean 'gpt-35'?", "[mine.yaml]"],
    ),
    ("evaluation: {judge: human}", ["evaluation.judge: human labels"]),
    ("evaluation: {judge: nobody}", ["evaluation.judge: ", "'nobody'", "[mine.yaml]"]),
    ("judges: {gpt-3.5: {use: openai, model: m}}", ["judges.gpt-3.5: ", "not a name", "[mine.yaml]"]),
    ("judges: {human: {use: rules}}", ["judges.human: ", "reserved"]),
    ("judges: {x: {use: opanai, model: m}}", ["judges.x.use: ", "Did you mean 'openai'?", "[mine.yaml]"]),
    ("judges: {x: {model: m}}", ["judges.x: say `use` (a provider), `panel` or `cascade`", "[mine.yaml]"]),
    ("judges: {rules: {judging: {concurency: 3}}}", ["judges.rules.judging.concurency: unknown key", "[mine.yaml]"]),
    ("judges: {rules: {judging: 3}}", ["judges.rules.judging: "]),
    ("judges: {gpt-35: {api_key: sk-abcdefgh}}", ["judges.gpt-35.api_key: ", "[mine.yaml]"]),
    ("principles: {factuality: {judge: rules}}", ["principles.factuality.judge: ", "cannot measure 'factuality'"]),
    ("principles: {relevence: }", ["principles.relevence: ", "Did you mean 'relevance'?", "principles/relevence.yaml"]),
    ("principles: [relevance, relevance]", ["principles: listed twice: relevance"]),
    ("principles: {relevance: {wieght: 1}}", ["principles.relevance.wieght: unknown key", "'weight'"]),
    ("principles: {relevance: {weight: -1}}", ["principles.relevance.weight: "]),
    ("principles: {relevance: {weight: .inf}}", ["principles.relevance.weight: ", "finite"]),
    ("principles: {relevance: {threshold: .nan}}", ["principles.relevance.threshold: ", "finite"]),
    ("principles: {relevance: {threshold: {quantil: 1}}}", ["principles.relevance.threshold"]),
    ("principles: {relevance: {weight: 0}, politeness: {weight: 0}}", ["principles: none has a weight above 0"]),
    ("principles: {}", ["principles: none has a weight above 0"]),
    ("principles: relevance", ["principles: "]),
    ("principles: [1]", ["principles: a list holds names alone", "[mine.yaml]"]),
    ("principles: [relevance, {politeness: {weight: 2}}]", ["principles: a list holds names alone", "{weight: 2}"]),
    ("dataset: {use: bare}\npairs: {source: dataset}", ["pairs.source: ", "'bare'", "sampled", "[mine.yaml]"]),
    ("principles: {relevance: {judge: human}}\nevaluation: {judge: nosuch}", ["evaluation.judge: ", "'nosuch'"]),
    ("principles: {relevance: {judge: human}}\nevaluation: {judge: human}", ["evaluation.judge: human labels"]),
    ("target: {model: demo-base, revision: main}", ["target.revision: ", "an offered model", "[mine.yaml]"]),
    ("target: {model: {use: demo-base}, revision: main}", ["target.revision: ", "an offered model"]),
    ("target: {model: ., revision: main}", ["target.revision: ", "a folder", "[mine.yaml]"]),
    ("preference_model: {base: {model: demo-base, revision: v1}}", ["preference_model.base.revision: "]),
    ("dataset: {use: bare}\nprinciples: {relevance: {judge: human}}", ["principles.relevance.judge: human", "'bare'"]),
    (f"scalarizer: {{use: grouped}}\n{ALONE}", ["scalarizer.use: 'grouped' needs groups", "'ppo'", "'full'"]),
    (
        f"scalarizer: {{use: leximin}}\n{ALONE}",
        ["scalarizer.use: 'leximin' needs groups", "responses_per_prompt", "[mine.yaml]"],
    ),
    ("device: gpu", ["device: "]),
    ("version: 2", ["version: "]),
    ("reward: {clip: .inf}", ["reward.clip: ", "finite"]),
    ("- a\n- b", ["mine.yaml: a configuration is a mapping"]),
    ("a: 1\na: 2", ["mine.yaml:2: the key 'a' stands twice"]),
    ("a: [1", ["mine.yaml:"]),
]


@pytest.mark.parametrize(("text", "parts"), BAD, ids=[text.replace("\n", " ") for text, _ in BAD])
def test_bad_input_is_refused_with_key_cause_and_file(load: Any, text: str, parts: list[str]) -> None:
    message = refused(load, text + "\n")
    for part in parts:
        assert part in message, message


def test_a_bad_value_of_set_names_the_option(load: Any) -> None:
    assert "[--set trainer.stpes]" in refused(load, "", "trainer.stpes=3")
    assert "[--set prompts.pm]" in refused(load, "", "prompts.pm=x")
    assert "[overrides]" in refused(load, "", seed="x")
    assert "--set a:" in refused(load, "", "a=[1")


def test_a_key_in_place_of_a_variables_name_is_not_repeated(load: Any) -> None:
    message = refused(load, "judges: {gpt-35: {api_key: sk-abcdefgh}}\n")
    assert "sk-abcdefgh" not in message
    assert "NAME of an environment variable" in message


def test_several_mistakes_are_said_at_once(load: Any) -> None:
    message = refused(load, "sed: 1\nprompts: {pm: x}\n")
    assert "sed: unknown key" in message
    assert "prompts.pm: " in message


def test_an_unknown_configuration(load: Any) -> None:
    message = refused(load, base=("dmo",))
    assert "there is no configuration 'dmo'" in message
    assert "Did you mean 'demo'?" in message


def test_an_empty_file_is_a_layer_without_keys(load: Any) -> None:
    assert load("# nothing\n").settings == load("").settings


def test_human_labels_are_accepted_where_the_data_set_has_them(load: Any) -> None:
    config = load("principles: {relevance: {judge: human}}\n")
    assert config.settings.judge_of("relevance") == "human"


def test_check_prints_every_value_with_its_origin(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    show_config(load("seed: 5\n", "prompts.pm=40"), ["a note"], [])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["seed", "5", "mine.yaml"] in lines
    assert ["prompts.pm", "40", "--set", "prompts.pm"] in lines
    assert ["prompts.max_tokens", "null", "default"] in lines
    assert ["prompts.rl", "1500", "shipped", "demo.yaml"] in lines
    assert ["ready", "to", "run"] in lines


def test_a_set_of_use_keeps_the_keys_set_beside_it(load: Any) -> None:
    for sets in (["temperature=0.5", "use=lexicographic"], ["use=lexicographic", "temperature=0.5"]):
        config = load("", *(f"scalarizer.{text}" for text in sets))
        assert config.block("scalarizer") == {"use": "lexicographic", "temperature": 0.5}


def test_one_mapping_of_a_threshold_replaces_another(load: Any) -> None:
    text = "principles: {relevance: {threshold: {quantile: 0.5}}}\n"
    settings = load(text, "principles.relevance.threshold={win_rate: 0.6}").settings
    assert settings.principles["relevance"].threshold == WinRate(win_rate=0.6)


def test_an_offered_model_goes_before_a_folder_and_a_folder_before_the_hub(load: Any, tmp_path: Path) -> None:
    for name in ("demo-base", "demo_base", "gpt2", "sub/gpt2", "m"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("demo-base", "demo_base", "demo/demo-base"):
        assert load(f"target: {name}\n").settings.target.model == name
    assert load("target: ./demo-base\n").settings.target.model == str(tmp_path / "demo-base")
    assert load("target: gpt2\n").settings.target.model == str(tmp_path / "gpt2")
    assert load("target: gpt2-medium\n").settings.target.model == "gpt2-medium"
    text = "preference_model: {use: lora, base: gpt2}\ntarget: {dtype: float32}\n"
    (tmp_path / "sub" / "low.yaml").write_text("target: gpt2\n")
    settings = load(text, base=("demo", "sub/low.yaml")).settings
    assert settings.target.model == str(tmp_path / "sub" / "gpt2"), "the folder beside the file that names it"
    assert settings.pm_base.model == str(tmp_path / "gpt2")
    config = load("judges: {gpt-35: {model: m}, m: {use: openai, model: gpt2}}\nseeds: {}\n", "target.model=m")
    assert config.judge_block("gpt-35")["model"] == "m", "a judge's model is a name at a server"
    assert config.judge_block("m")["model"] == "gpt2"
    assert config.settings.target.model == str(tmp_path / "m")


def test_a_revision_is_for_models_of_the_hub(load: Any) -> None:
    assert load("target: {model: gpt2, revision: v1}\n").settings.target.revision == "v1"
    assert load("target: {model: gpt2, revision: 2024-01-01}\n").settings.target.revision == "2024-01-01"


def test_pairs_of_the_data_set_are_accepted_where_it_has_them(load: Any) -> None:
    assert load("pairs: {source: dataset}\n").settings.pairs.source == "dataset"


def test_what_run_yaml_holds_gives_the_same_settings(load: Any, tmp_path: Path, plugins: Plugins) -> None:
    text = "principles: {relevance: {weight: 2, threshold: {quantile: 0.5}}, detail: }\nseeds: {judge: 3}\n"
    config = load(
        text + "prompts: {rl: null}\njudges: {other: {use: openai, model: m, base_url: null, api_key: null}}\n"
    )
    (tmp_path / "registry.yaml").write_text("scalarizer: {use: weighted, surprise: 1}\njudges: {x: {use: nobody}}\n")
    assert reloaded(config, tmp_path, plugins) == config.settings


def test_a_scalarizer_may_only_name_principles_of_the_reward(tmp_path: Path) -> None:
    good = load_config(["demo"], ["scalarizer.use=single", "scalarizer.principle=politeness"], folder=tmp_path)
    assert good.settings.scalarizer.component_options == {"principle": "politeness"}
    with pytest.raises(UserError, match=r"'politenes', which is not active .* Did you mean 'politeness'"):
        load_config(["demo"], ["scalarizer.use=single", "scalarizer.principle=politenes"], folder=tmp_path)


def test_needs_that_options_bring(tmp_path: Path) -> None:
    sets = ["scalarizer.use=uncertainty_weighted"]
    assert load_config(["demo"], sets, folder=tmp_path).settings.scalarizer.use == "uncertainty_weighted"
    with pytest.raises(UserError, match="needs spread"):
        load_config(["demo"], [*sets, "scalarizer.ensemble=true"], folder=tmp_path)


def test_a_trainer_that_answers_a_prompt_several_times_supplies_groups(load: Any) -> None:
    config = load("scalarizer: {use: leximin}\ntrainer: {responses_per_prompt: 4}\n")
    assert config.settings.scalarizer.use == "leximin"


def test_a_shipped_configurations_data_lie_in_the_working_directory(tmp_path: Path) -> None:
    assert load_config(["own-data"], folder=tmp_path).block("dataset")["path"] == str(tmp_path / "data.jsonl")
