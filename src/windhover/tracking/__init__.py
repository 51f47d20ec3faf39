"""Runs and models in MLflow: the only room that imports it.

Holds what is kept of a training and an evaluation, and how a model comes back; computes no figure.
"""
