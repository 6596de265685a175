"""A run's configuration: YAML in layers, validated, every value with its origin.

`load` reads from top to bottom: files (`yaml_files`, `shipped_files`) become `layers`, nulls are settled (`nulls`),
models are named (`model_names`), and the result is validated by `settings` and `judge_settings` into a `Config`; then
`principles` and `judges` are looked up; `config` is what comes out. `prices` says what a judge costs. Imports `plugins`;
knows nothing of runs or models.
"""
