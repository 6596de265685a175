"""The ledger: every answered request, what was spent, batches under way; SQLite, the system of record.

`tables` are the rows and their tables, `file` opens, locks and upgrades, `ledger` reads and writes, `commits` groups
writes, `answer_rows` turns an answer into rows, `amounts` and `spending` count money, `export` writes JSON lines. Nothing
committed is lost or asked again.
"""
