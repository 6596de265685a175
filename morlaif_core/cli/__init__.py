"""The command line, thin: parse, call the API, print. `plugin_commands` adds what plugins offer."""
