"""What verdicts say of a judge.

`judge_statistics` computes the `judge` block of results.json; `position_bias` estimates the bias of verdicts read from
text, `agreement` how far judges agree, and `intervals` bounds all of it over rows of one prompt.
"""
