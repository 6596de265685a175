"""The command `fit-weights`: weights of the principles from human labels, and how far they can be trusted."""
