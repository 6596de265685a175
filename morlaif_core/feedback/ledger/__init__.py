"""The ledger: every answered request, what was spent, batches under way; SQLite, the system of record.

`records` are the rows and tables, `file` opens, locks and upgrades, `ledger` reads and writes, `commits` groups writes,
`rows` turns an answer into rows, `amounts` and `spending` count money, `export` writes JSON lines. Nothing committed is
lost or asked again.
"""
