"""A small base is whole, made once, and as its arguments say."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from morlaif_core import Message, Target, decode, make_prompt, prompt_ids
from morlaif_core.models.backbones import LocalBackbones
from morlaif_core.testing import bases, tiny_base


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_it_is_made_once_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = tiny_base()
    assert tmp_path in made.parents
    before = (made / "model.safetensors").stat().st_mtime_ns
    assert tiny_base() == made
    assert (made / "model.safetensors").stat().st_mtime_ns == before
    assert tiny_base(chat=True) != made
    assert weights(tiny_base(seed=1)) != weights(made)
    assert sorted(path.name for path in made.parent.iterdir()) == [
        "tiny-base-1-0",
        "tiny-base-1-1",
        "tiny-base-1-chat-0",
    ]


@pytest.mark.parametrize("chat", [False, True])
def test_it_answers(tmp_path: Path, chat: bool) -> None:
    backbone = LocalBackbones(device="cpu", threads=1).get(Target(model=str(tiny_base(tmp_path / "base", chat=chat))))
    ids = prompt_ids(backbone.tokenizer, make_prompt([Message("user", "Hi")]))
    assert ("Human" in backbone.tokenizer.decode(ids)) != chat
    (drawn,) = decode(
        backbone.model, backbone.tokenizer, [ids], n=4, max_new_tokens=8, temperature=1.0, stop=(), seed=0
    )
    assert len({one.text for one in drawn}) > 1


def test_its_example() -> None:
    failed, tried = doctest.testmod(bases)
    assert (failed, tried) == (0, 2)
