"""``demo-base``: a tiny GPT-2 made from nothing and pretrained on the data set's conversations, on one CPU thread.

Leaves out: dropout, because the model sees every text about once; a held-out loss and checkpoints, because all of it takes
seconds; the loss on questions, because a model that answers never writes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from morlaif_core import Report, UserError

from .options import DemoBaseOptions
from .tokens import HEADS, train_tokenizer

Encoded: TypeAlias = tuple[list[int], int]
"""Token ids of a conversation, eos included, and the place where its last turn begins."""
VERSION = "demo-base-1"
REPORT_EVERY = 20
WARMUP_STEPS = 30
DECAY = 0.3
"""Share of the steps, at the end, in which the learning rate falls to 0."""
SPREAD = 0.1
"""Standard deviation of the first weights, about 1 / sqrt(width): with GPT-2's 0.02, made for wider models, attention
stays even for hundreds of steps and the model learns to speak, but not to look at the question."""


class DemoBase:
    """A `ModelMaker` whose model speaks the language of the texts it is given and ends its turns with eos."""

    def __init__(self, options: DemoBaseOptions) -> None:
        self._options = options

    @property
    def identity(self) -> str:
        """Changes when the same options and texts would give another model."""
        return VERSION

    def make(self, folder: Path, texts: Iterable[str], *, seed: int, report: Report) -> None:
        """Write config, weights and tokenizer to ``folder``: the same bits for the same texts, options and seed.

        texts: whole conversations in HH form, without eos. Raises UserError where there are none.
        """
        corpus = [text for text in texts if text.strip()]
        if not corpus:
            raise UserError("demo-base: no text to learn from; name a data set whose training split has preferences")
        options = self._options
        tokenizer = train_tokenizer(corpus, options.vocabulary, options.context)
        with _one_seeded_thread(seed):
            model = _new_model(options, tokenizer)
            _pretrain(model, _encode(tokenizer, corpus, options.context), options, seed, report)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@contextmanager
def _one_seeded_thread(seed: int) -> Iterator[None]:
    """Seed torch and bind it to one thread, which is fastest at this size and gives the same bits on any machine size;
    put both back on leaving."""
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _new_model(options: DemoBaseOptions, tokenizer: Any) -> Any:
    """Build a GPT-2 with random weights. Dropout is off: the model sees every text about once."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=options.vocabulary,
        n_positions=options.context,
        n_embd=options.width,
        n_layer=options.layers,
        n_head=options.heads,
        initializer_range=SPREAD,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = GPT2LMHeadModel(config)
    # At first what a word is counts for more than where it stands: the model learns to look back at the question sooner.
    model.transformer.wpe.weight.data.mul_(SPREAD)
    return model


def _encode(tokenizer: Any, texts: Sequence[str], context: int) -> list[Encoded]:
    """Encode each text with eos at its end, and say where its last turn begins; of a text that is too long, keep the
    end."""
    head = tokenizer.convert_tokens_to_ids(HEADS[-1])
    # Not verbose: transformers would warn of the texts that are cut below.
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    # With eos the model learns to end its turn; cut at the beginning, no text loses it.
    cut = ([*ids, tokenizer.eos_token_id][-context:] for ids in encoded)
    return [(ids, len(ids) - ids[::-1].index(head) if head in ids else 1) for ids in cut]


def _batches(sequences: Sequence[Encoded], batch: int, steps: int, seed: int) -> Iterator[list[Encoded]]:
    """Yield ``steps`` batches of sequences of like length, so that little is padded; every epoch cuts them anew."""
    import numpy as np

    rng = np.random.default_rng(seed)
    lengths = np.array([len(ids) for ids, _ in sequences])
    # Fewer texts than a batch would give no batch, and the loop below no end.
    batch = min(batch, len(sequences))
    done = 0
    while done < steps:
        # Some noise on the lengths, or the same texts would meet in every epoch.
        order = np.argsort(lengths + rng.uniform(0, 4, len(lengths)), kind="stable")
        starts = rng.permutation(range(0, len(order) - batch + 1, batch))[: steps - done]
        for start in starts:
            yield [sequences[index] for index in order[start : start + batch]]
        done += len(starts)


def _pretrain(model: Any, sequences: list[Encoded], options: DemoBaseOptions, seed: int, report: Report) -> None:
    """Minimise `_loss` with AdamW (Loshchilov and Hutter, arXiv 1711.05101)."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, options.steps))
    model.train()
    for step, rows in enumerate(_batches(sequences, options.batch, options.steps, seed), start=1):
        loss = _loss(model, rows)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % REPORT_EVERY == 0 or step == options.steps:
            report(step, options.steps, {"loss": loss.item()})
    model.eval()


def _rate(step: int, steps: int) -> float:
    """Factor of the learning rate at a step, in (0, 1]: a warm-up, a plateau, a linear fall."""
    return min(1.0, (step + 1) / WARMUP_STEPS, (steps - step) / (DECAY * steps))


def _loss(model: Any, rows: Sequence[Encoded]) -> Any:
    """Mean cross-entropy (nats a token) over the last turns of a batch: a model that answers is never asked to write
    the question. Padding stands on the right, where a causal model cannot see it, so no attention mask is needed."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    ids = pad_sequence([torch.tensor(row) for row, _ in rows], batch_first=True)
    lengths, starts = torch.tensor([[len(row), start] for row, start in rows]).T[:, :, None]
    places = torch.arange(ids.shape[1])[None, :]
    labels = ids.masked_fill((places >= lengths) | (places < starts), -100)
    logits = model(input_ids=ids, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
