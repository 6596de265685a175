"""The run folder, and what a person sees while it fills.

`folder` holds lock, manifest and whole writes; `prompt_sets` draws the disjoint sets of prompts; `processes` lets the
first of several processes work while the others wait; `progress` and `tables` print; `stamps` are what fingerprints count
of settings and files. Imports `config` and below; what a stage does with the folder is in `stages`.
"""
