"""The simulated model: what it is asked, what it prefers, how it answers, what goes wrong, its limits.

Imports nothing of the server but the cuts of a reply (`http`), so that its verdicts can be known without serving.
"""
