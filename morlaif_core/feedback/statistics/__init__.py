"""What verdicts say of a judge: bias, consistency, agreement, each with its interval."""
