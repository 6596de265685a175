"""AI feedback: pairs and principles in, verdicts out; the same for every judge.

`asking` renders what is asked, `answers` reads what is said, `ledger` keeps it, `sending` delivers it, `statistics`
measures judges by their verdicts, `judges` resolves who the judges of a run are. `judging` is the one function that the
stages call, `planned_judge` the same requests without sending them. `types` holds what flows between them. Nothing here
knows a provider: plugins bring these.
"""
