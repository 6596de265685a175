"""The command line, thin: `main` parses and calls the API, `output` and `show_config` print, `under_way` says what a run is
at, and `plugin_commands` adds what plugins offer."""
