"""How a network learns: targets and losses, what an epoch shows, crops, mining, pace, and the train
stage's flow.

Holds what lies between patches and weights; refuses to choose a threshold, and to look at the test
split.
"""
