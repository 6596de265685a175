"""The pipeline, one file a stage: sample, judge, train_pms, train_policy, evaluate.

Each has `inputs` (what its fingerprint covers) and `run`. `pipeline` says which stages a run needs and calls them;
`context` is what all of them work with; `pairs` and `metrics` are the files between them; `comparison` is
what `evaluate` does, on the run's prompts or, by `other_prompts`, on others, `comparison_rows` its files,
`held_out_figures` and `results_table` its numbers; `look_at_data` is what `morlaif check` says of local data.
"""
