"""AI feedback: pairs and principles in, verdicts out; the same for every judge.

`asking` renders what is asked, `answers` reads what is said, `ledger` keeps it, `sending` gets it through, `statistics`
says what verdicts tell of a judge, `judges` resolves who the judges of a run are. `judging` is the one function that the
stages call. `types` holds what flows between them. Nothing here knows a provider: plugins bring these.
"""
