"""The command line, thin: `main` parses and calls the API, `output` prints, `under_way` says what a run is at, and
`plugin_commands` adds what plugins offer."""
