"""The pipeline, one file a stage: sample, judge, train_pms, train_policy, evaluate.

Each has `inputs` (what its fingerprint covers) and `run`. `pipeline` says which stages a run needs and calls them;
`context` is what all of them work with; `pairs` and `metrics` are the files between them; `held_out_figures` is
what `evaluate` says of verdicts and scores; `look_at_data` is what `morlaif check` says of local data.
"""
