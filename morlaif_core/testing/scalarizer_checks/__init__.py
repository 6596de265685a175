"""What `check_scalarizer` asks of a scalarizer: `check` reads from top to bottom, the others hold its parts."""
