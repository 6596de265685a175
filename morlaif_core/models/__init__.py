"""Language models: named, resolved, loaded once, run in parts, sampled from.

A model goes through `resolve` (which one, pinned), `hub` (is it cached, can it be asked for), `loading` (weights and
tokenizer), `backbones` (one copy in memory, its `adapters` switched); `judge_model` does so for judges. `layers` runs a
model in parts, `decoding` samples with one `kv_cache` (`cache_check`: does it hold all that the model keeps?), `rendering`
turns prompts into text and scored responses into tokens. torch and transformers are imported inside the functions that
need them.
"""
