"""What is said: from an `Answer` to a reading, and from readings to a `Verdict`.

`reading` reads one answer in every mode, with `json_objects` where it is JSON; `verdict` puts samples and orders together
and applies the direction, once; `panels_and_cascades` makes one verdict of several judges'. What was not said where it was
asked for is never a number.
"""
