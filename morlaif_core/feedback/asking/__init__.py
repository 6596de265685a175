"""What is asked: from a pair and a principle to a `Request` and its key.

`plan` turns tasks into requests; `requests` makes one, with the words of `prompt`, `styles` and `wordings` and the
schemas of `schemas`; `keys` computes the ledger's keys of many at once. The bytes of a request are its key: a changed
word is a new question, paid anew.
"""
