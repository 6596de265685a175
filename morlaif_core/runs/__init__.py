"""The run folder, and what a person sees while it fills.

`folder` holds lock, manifest and whole writes; `holder` says whether the lock's process lives; `prompt_sets` draws the
disjoint sets of prompts; `processes` lets the first of several processes work while the others wait; `stopping` lets a
step finish on Ctrl-C; `progress` shows how far a stage is, at the pace and in the words of `pace`; `log` keeps log.txt
and progress.json; `tables` prints; `stamps` are what fingerprints count of settings and files. Imports `config` and
below; what a stage does with the folder is in `stages`.
"""
