"""Experiments: k-fold cross-validation, the search of parameters, and checks before a training.

Flows over the flows of other rooms; what a training or an evaluation does is defined there.
"""
