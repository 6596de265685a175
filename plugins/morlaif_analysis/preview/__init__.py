"""The command `preview`: what best-of-n under each scalarizer would give, before a policy is trained."""
