"""From the scores of the preference models to one reward.

Raw scores -> `calibration` (with `length_control` and `soft_clip`) -> `terms` (weights, thresholds, priorities) -> a
plugin's scalarizer (`scheduled_temperature`, `expected_utility`) -> `scale` -> reward. `build` puts all of it together
for a run and reads from top to bottom; `reward` is what comes out, `saved_reward` the same across processes, `steps` the
same in training, `explanation` says which principle decided, `score_checks` refuses what is no score. Imports `plugins`,
`config` and `runs`; no preference model or trainer.
"""
