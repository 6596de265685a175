"""The demo base's tokenizer: a byte-level BPE, so that any text can be written, not only the demo's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

EOS, PAD = "<|endoftext|>", "<|pad|>"
HEADS = ("\n\nHuman:", "\n\nAssistant:")


def train_tokenizer(texts: Sequence[str], vocabulary: int, context: int) -> Any:
    """Learn a tokenizer (Sennrich et al., arXiv 1508.07909, on bytes) and return it as transformers' fast tokenizer.

    eos and pad are two tokens, so that a final eos can be told from padding. The heads of the turns are one token each:
    every conversation holds two or more of them, and a tiny vocabulary would spend five tokens on each. There is no
    chat template.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        # The heads are added after training, and count.
        vocab_size=vocabulary - len(HEADS),
        special_tokens=[EOS, PAD],
        # Sorted: the alphabet comes in another order each time, and the ids follow it.
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # Without the heads, or merges would be spent on what is a token of its own.
    core.train_from_iterator((_without_heads(text) for text in texts), trainer)
    core.add_tokens([AddedToken(head, special=False, normalized=False) for head in HEADS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=EOS, bos_token=EOS, pad_token=PAD, model_max_length=context
    )


def _without_heads(text: str) -> str:
    for head in HEADS:
        text = text.replace(head, "\n")
    return text
