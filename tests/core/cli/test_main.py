"""The command line: exit codes, advice in place of tracebacks, and what each command prints."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from morlaif_core import load_run
from morlaif_core.config.shipped_files import shipped_examples
from morlaif_core.runs import progress
from tests.helpers.commands import COMMAND, Cli
from tests.helpers.small_run import PRINCIPLES, final_files, options, small

HH = '{"chosen": "\\n\\nHuman: Hi %d\\n\\nAssistant: Hello.", "rejected": "\\n\\nHuman: Hi %d\\n\\nAssistant: No."}\n'


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_and_version(morlaif: Cli) -> None:
    code, out, _ = morlaif("--help")
    assert code == 0
    for name in ("run", "check", "init", "status", "plugins", "principles", "score", "generate"):
        assert name in out
        assert morlaif(name, "--help")[0] == 0
    assert morlaif("--version")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["rnu"],
        ["run", "--ot", "x"],
        ["run", "dmo"],
        ["run", "demo", "--set", "seed"],
        ["run", "demo", "--set", "sed=1"],
        ["run", "demo", "--set", "seed=[1"],
        ["run", "demo", "--until", "smaple"],
        ["run", "demo", "--only", "judge"],
        ["run", "demo", "--until", "judge", "--only", "judge"],
        ["run", "demo", "--set", "scalarizer.use=max_mni"],
        ["run", "demo", "--set", "prompts.pm=lots"],
        ["run", "demo", *options("prompts.pm=100000")],
        ["run", "demo", "--set", "principles.factuality={judge: rules}"],
        ["run", "demo", "--set", "principles=[detail, detail]"],
        ["run", "demo", "--set", "principles.detail.judge=nobody"],
        ["run", "demo", "--set", "principles.detail.judge=gpt-35"],
        ["run", "demo", "--set", "target.model=./no/such/folder"],
        ["run", "demo", "--set", "dataset={use: hh-rlhf, path: missing.jsonl}"],
        ["run", "demo", *options("generation.max_new_tokens=100000")],
        ["run", "twice.yaml"],
        ["run", "unreadable.yaml"],
        ["run", "demo", "--out", "foreign"],
        ["run", "demo", "--out", "foreign/thesis.tex"],
        ["run", "demo", "--out", "foreign/thesis.tex/run"],
        ["check", "demo", "--set", "rewrd.clip=1"],
        ["principles", "toxicty"],
        ["status", "nowhere"],
        ["score", "nowhere", "--prompt", "x", "--response", "y"],
        ["score", "nowhere"],
        ["generate", "nowhere", "--prompt", "x"],
        ["generate", "nowhere", "--prompt", "x", "-n", "0"],
        ["generate", "nowhere", "--prompt", "x", "-n", "-1"],
        ["generate", "nowhere", "--prompt", "x", "--seed", "-1"],
        ["generate", "nowhere", "--prompt", "x", "--seed", "99999999999999999999"],
        ["check", "demo", "--set", "seed=2024-99-99"],
        ["check", "demo", "--set", "seed=0x_"],
        ["init", "there.yaml"],
        ["init", "--from", "dmo"],
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)  # fmt: skip
def test_bad_input_is_exit_2_with_advice_and_nothing_lost(morlaif: Cli, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("x")
    (tmp_path / "there.yaml").write_text("x")
    (tmp_path / "twice.yaml").write_text("seed: 1\nseed: 2\n")
    (tmp_path / "unreadable.yaml").write_text("seed: [1\n")
    code, _, err = morlaif(*arguments)
    assert code == 2, err
    assert len(err.strip()) > 20
    assert (tmp_path / "foreign" / "thesis.tex").read_text() == "x"
    assert [item.name for item in (tmp_path / "foreign").iterdir()] == ["thesis.tex"]
    assert (tmp_path / "there.yaml").read_text() == "x"


DATA = {
    "empty": ("", "no records in this file"),
    "malformed": (HH % (1, 1) + '{"chosen": \n' + HH % (2, 2), ":2"),
    "a list": (HH % (1, 1) + HH % (2, 2) + "[1]\n", ":3"),
    "another form": ('{"question": "x"}\n', ":1"),
    "too few": (HH % (1, 1), "too few prompts"),
}


@pytest.mark.parametrize("name", DATA)
def test_bad_data_is_exit_2_with_the_line(morlaif: Cli, tmp_path: Path, name: str) -> None:
    text, part = DATA[name]
    (tmp_path / "data.jsonl").write_text(text)
    base = "target.model={use: demo-base, steps: 1, width: 8, layers: 1}"
    code, _, err = morlaif(
        "run", "demo", "--out", "r", "--set", "dataset={use: hh-rlhf, path: data.jsonl}", "--set", base
    )
    assert code == 2, err
    assert part in err


@pytest.mark.parametrize("name", shipped_examples())
def test_check_accepts_every_shipped_example(morlaif: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"prompt": f"q {n}"}) + "\n" for n in range(60)))
    code, out, err = morlaif("check", name)
    assert code == 0, err
    assert "ready to run" in out or "needed before run:" in out
    assert f"shipped {name}.yaml" in out


@pytest.mark.parametrize(("name", "text"), [*DATA.items(), ("missing", (None, "no such file"))])
def test_check_refuses_data_that_a_run_would_stop_at(morlaif: Cli, tmp_path: Path, name: str, text: Any) -> None:
    if text[0] is not None:
        (tmp_path / "data.jsonl").write_text(text[0])
    code, out, err = morlaif("check", "demo", "--set", "dataset={use: hh-rlhf, path: data.jsonl}")
    assert code == 1
    assert "ready to run" not in out
    assert text[1] in err


def test_check_shows_the_prompt_sets(morlaif: Cli) -> None:
    code, out, _ = morlaif("check", "demo", "--set", "prompts.rl=null")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["pm", "640", "640"] in rows
    assert ["rl", "the", "rest", "3,620"] in rows


def test_check_lists_what_is_needed_from_outside(morlaif: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = morlaif("check", "demo", "--set", "principles.factuality.judge=gpt-35", "--set", "target.model=gpt2")
    assert code == 0
    needed = out.partition("needed before run:")[2]
    assert "judges.gpt-35" in needed
    assert "OPENAI_API_KEY" in needed
    assert "'gpt2'" in needed
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    code, out, _ = morlaif("check", "demo", "--set", "principles.factuality.judge=gpt-35")
    assert code == 0
    assert "ready to run" in out
    assert "sk-very-secret" not in out


def test_generate_names_the_range_of_its_numbers(morlaif: Cli) -> None:
    for option in (["-n", "0"], ["--seed", "99999999999999999999"]):
        assert "not in the range" in morlaif("generate", "nowhere", "--prompt", "x", *option)[2]


def test_run_refuses_what_check_lists_before_it_begins(morlaif: Cli, tmp_path: Path) -> None:
    code, _, err = morlaif("run", "demo", "--out", "r", "--set", "principles.factuality.judge=gpt-35")
    assert code == 2
    assert "OPENAI_API_KEY" in err
    assert not (tmp_path / "r").exists()
    code, _, err = morlaif("run", "demo", "--out", "r", "--set", "dataset={use: preferences, path: none.csv}")
    assert (code, "dataset: " in err, "no such file" in err) == (2, True, True)
    assert not (tmp_path / "r").exists()


def test_init_writes_a_configuration_that_checks(morlaif: Cli, tmp_path: Path) -> None:
    code, out, _ = morlaif("init", "mine.yaml")
    assert code == 0
    assert "morlaif run mine.yaml" in out
    assert (tmp_path / "mine.yaml").read_text().startswith("#")
    assert morlaif("check", "mine.yaml")[0] == 0
    assert morlaif("init")[0] == 0
    assert (tmp_path / "morlaif.yaml").exists()


def test_init_from_own_data_fits_the_users_file(morlaif: Cli, tmp_path: Path) -> None:
    assert morlaif("init", "mine.yaml", "--from", "own-data")[0] == 0
    code, _, err = morlaif("check", "mine.yaml")
    assert (code, "data.jsonl: no such file" in err) == (1, True)
    (tmp_path / "data.jsonl").write_text("".join(json.dumps({"prompt": f"q {n}"}) + "\n" for n in range(60)))
    for arguments in (["check", "mine.yaml"], ["check", "own-data"]):
        code, out, err = morlaif(*arguments)
        assert code == 0, err
        assert ["rl", "the", "rest"] in [line.split()[:3] for line in out.splitlines()]


def test_plugins_lists_every_offer(morlaif: Cli) -> None:
    code, out, _ = morlaif("plugins", "--json")
    assert code == 0
    listed = json.loads(out)
    assert listed["set_aside"] == []
    found = {(offer["kind"], offer["name"]) for offer in listed["offers"]}
    assert {("scalarizer", "weighted"), ("dataset", "demo"), ("policy_trainer", "ppo"), ("model", "demo-base")} <= found
    for offer in listed["offers"]:
        assert all(option["description"] for option in offer["options"].values()), offer["name"]
    code, out, _ = morlaif("plugins")
    assert code == 0
    assert all(offer["name"] in out for offer in listed["offers"])


def test_principles_and_one_as_the_judge_gets_it(morlaif: Cli, tmp_path: Path) -> None:
    (tmp_path / "principles").mkdir()
    (tmp_path / "principles" / "toxicity.yaml").write_text("question: Which response is the ruder one?\npicks: worse\n")
    code, out, _ = morlaif("principles")
    assert code == 0
    assert "principles/toxicity.yaml (shadows shipped)" in out
    listed = json.loads(morlaif("principles", "--json")[1])
    assert {item["name"] for item in listed} >= {"helpfulness", "toxicity", "politeness"}
    code, out, _ = morlaif("principles", "helpfulness")
    assert code == 0
    assert "[user]" in out
    assert "helpful" in out
    code, out, _ = morlaif("principles", "toxicity")
    assert "inverted on reading" in out
    assert json.loads(morlaif("principles", "toxicity", "--json")[1])["shadows"] == ["shipped"]


def test_without_a_terminal_lines_are_never_cut(morlaif: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = morlaif("principles")[1]
    question = json.loads(morlaif("principles", "helpfulness", "--json")[1])["question"]
    assert question in out


def test_status_score_and_generate(morlaif: Cli, finished: Path) -> None:
    code, out, _ = morlaif("status", str(finished))
    assert code == 0
    assert out.count("done") == 5
    assert "overall win rate" in out
    assert "effective weights (weight times deviation of the scores): helpfulness 0." in out
    assert "after training (majority)" in out
    assert f"adjusted for {len(PRINCIPLES)} principles (Bonferroni)" in out
    status = json.loads(morlaif("status", str(finished), "--json")[1])
    assert status["results"] == load_run(finished).results
    arguments = ["score", str(finished), "--prompt", "How are you?", "--response", "Fine.", "--response", "No."]
    rows = json.loads(morlaif(*arguments, "--json")[1])
    assert [row["response"] for row in rows] == ["Fine.", "No."]
    assert list(rows[0]["scores"]) == list(PRINCIPLES)
    code, out, _ = morlaif(*arguments)
    assert code == 0
    assert out.splitlines()[0].split() == ["reward", *PRINCIPLES, "response"]
    code, out, _ = morlaif("generate", str(finished), "--prompt", "How are you?", "-n", "2", "--json")
    assert code == 0
    assert [len(json.loads(out)[key]) for key in ("before", "after")] == [2, 2]
    plain = morlaif("generate", str(finished), "--prompt", "How are you?", "-n", "2")[1]
    for when, ends in json.loads(out)["ended"].items():
        lines = [line for line in plain.splitlines() if line.startswith(f"{when}:")]
        assert ends == [not line.endswith("[cut off]") for line in lines]
    assert "after:" in morlaif("generate", str(finished), "--prompt", "How are you?")[1]


def test_the_same_command_again_says_that_nothing_is_to_be_done(morlaif: Cli, finished: Path) -> None:
    code, out, _ = morlaif("run", "demo", "--out", str(finished), *options())
    assert code == 0
    assert "nothing to do" in out
    assert "overall win rate" in out


def test_a_run_that_is_not_that_far_is_exit_1(morlaif: Cli, tmp_path: Path) -> None:
    assert morlaif("run", "demo", "--out", "r", "--until", "sample", *options())[0] == 0
    for arguments in (["score", "r", "--prompt", "x", "--response", "y"], ["generate", "r", "--prompt", "x"]):
        code, _, err = morlaif(*arguments)
        assert code == 1, err
        assert "morlaif run" in err
    code, out, _ = morlaif("status", "r")
    assert code == 0
    assert "not started" in out


def test_quiet_says_nothing_and_the_log_has_it(finished: Path, tmp_path: Path, morlaif: Cli) -> None:
    shutil.copytree(finished, tmp_path / "r")
    said = (tmp_path / "r" / "log.txt").read_text()
    code, out, err = morlaif("run", "demo", "--out", "r", *options(), "-q")
    assert (code, out, err) == (0, "", "")
    more = (tmp_path / "r" / "log.txt").read_text().removeprefix(said)
    assert "r: every stage is done and no setting has changed; nothing to do\n" in more
    assert morlaif("run", "demo", "--out", "r", *options("seed=1.5"), "-q")[2].startswith("morlaif: ")
    for part in (" sample …\n", " train-policy: 2 steps", " ended\n"):
        assert part in said


def test_verbose_and_a_pipe_say_how_far_training_is(
    finished: Path, tmp_path: Path, morlaif: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "r")
    monkeypatch.setattr(progress, "FIRST", 0.0)
    monkeypatch.setattr(progress, "VERBOSE", 0.0)
    arguments = ["run", "demo", "--out", "r", *options("trainer.learning_rate=1e-3"), "--until", "train-policy"]
    code, _, err = morlaif(*arguments)
    assert code == 0
    (line,) = [line for line in err.splitlines() if line.startswith("train-policy: 2 of 2 steps (100 %), 0:0")]
    assert all(f"{name} " in line for name in ("reward", "kl", *PRINCIPLES))
    assert "entropy" not in err
    shutil.rmtree(tmp_path / "r")
    shutil.copytree(finished, tmp_path / "r")
    assert "entropy" in morlaif(*arguments, "-v")[2]


def start(folder: Path, *more: str, limit: int | None = None) -> subprocess.Popen[str]:
    """Start the small run in a process of its own."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [*COMMAND, "run", "demo", "--out", "r", *options(*more)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, cwd=folder, preexec_fn=limited, **pipes)  # noqa: PLW1509


def interrupted_in(process: subprocess.Popen[str], stage: str, number: signal.Signals) -> tuple[int, str]:
    """Send a signal once a stage has begun; returns the exit code and all output."""
    assert process.stdout is not None
    head = ""
    while not head.endswith(f"{stage} …\n"):
        line = process.stdout.readline()
        assert line, (head, process.stderr and process.stderr.read())
        head += line
    time.sleep(0.3)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=200)
    return process.returncode, head + out + err


@pytest.mark.slow(seconds=14)
def test_ctrl_c_and_a_full_disk_lose_nothing(finished: Path, tmp_path: Path) -> None:
    code, said = interrupted_in(start(tmp_path), "sample", signal.SIGINT)
    assert code == 130, said
    assert "Run the same command to resume" in said
    code, said = interrupted_in(start(tmp_path), "train-pms", signal.SIGTERM)
    assert code == 130, said
    assert "Run the same command to resume" in said
    full = start(tmp_path, limit=150_000)
    out, err = full.communicate(timeout=200)
    assert full.returncode == 1, out + err
    assert "free some space" in err
    assert "Traceback" not in said + out + err
    small(tmp_path / "r")
    assert final_files(tmp_path / "r") == final_files(finished)


IMPORTING = """
import signal, sys, time
from morlaif_core.cli import main
signal.signal(signal.SIGINT, main._interrupt)
sys.path.insert(0, sys.argv[1])
try:
    import torch
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_waits_for_the_import_of_torch_which_would_abort(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(
        "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(0.25); print(1)"
    )
    command = [sys.executable, "-c", IMPORTING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.stdout == "1\ninterrupted\n", done.stderr


def test_help_and_plugins_are_quick() -> None:
    """0.3 s is the aim, measured in benchmarks/; this only catches a heavy import."""
    for arguments in (["--help"], ["plugins"]):
        begun = time.monotonic()
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, check=False)
        assert done.returncode == 0
        assert time.monotonic() - begun < 10
