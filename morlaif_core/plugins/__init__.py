"""What a plugin offers, and how it is found.

`hookspecs` lists the hooks, `protocols` what each kind of component must be able to do (`jobs` what it is asked for,
`given` what the core gives it), `components` how one is described (`Component`, `Options`, `Secret`); `manager` finds
plugins by their `entry_points` and resolves names; `option_errors` says in a user's words what is wrong with options.
Imports the modules below it (`types`, `errors`, `redaction`) and never a plugin: built-in ones are found as any other is.
"""
