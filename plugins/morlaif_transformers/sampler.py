"""Draws responses from the target model on this machine, trained or not."""

from __future__ import annotations

from collections.abc import Sequence

from morlaif_core import Backbones, Generation, Policy, Prompt, decode, policy_backbone, prompt_ids, stop_strings


class TransformersSampler:
    """Samples a chunk in batches of prompts of like length, left-padded, a prompt's responses together."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def sample(
        self,
        policy: Policy,
        prompts: Sequence[Prompt],
        *,
        n: int,
        seed: int,
        generation: Generation,
        backbones: Backbones,
    ) -> Sequence[tuple[str, ...]]:
        """Answer one chunk: n responses for each prompt, the same for the same seed.

        Ends at eos or at a stop string (HH prompts: the next human turn), which is cut off. Raises `UserError` where
        the model cannot be loaded or a prompt does not fit its positions.
        """
        backbone, adapter = policy_backbone(policy, backbones)
        tokenizer, template, kwargs = backbone.tokenizer, policy.target.template, policy.target.chat_template_kwargs
        with backbone.use(adapter) as model:
            drawn = decode(
                model,
                tokenizer,
                [prompt_ids(tokenizer, prompt, template, kwargs) for prompt in prompts],
                n=n,
                max_new_tokens=generation.max_new_tokens,
                temperature=generation.temperature,
                stop=stop_strings(generation, tokenizer, template),
                seed=seed,
                batch=self.batch_size,
            )
        return [tuple(response.text for response in row) for row in drawn]
