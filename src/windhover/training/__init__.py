"""Training: targets and losses, what an epoch shows, large patches, mining, and the train stage.

Holds what is between patches and weights. Chooses no threshold and reads no test split.
"""
