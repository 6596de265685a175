"""What is the same for every judge: orders, prompt, verdict -> probability, ledger, sending."""
