"""How each principle counts: weight, threshold and priority, from the settings to what a scalarizer sees.

`weights_and_thresholds` checks the settings and resolves them into `resolved_terms`: weights as shares, thresholds as
numbers, principles of one priority as a tier. `schedules` changes them over the training steps; `notes` says what the user
set and the scalarizer does not use.
"""
