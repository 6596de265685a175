"""The road, one file per stage: sample, judge, train_pms, train_policy, evaluate."""
