"""The command line, thin: `main` parses and calls the API, `output` prints, `plugin_commands` adds what plugins offer."""
