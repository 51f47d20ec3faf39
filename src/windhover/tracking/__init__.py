"""Runs and models in MLflow: what is logged of a training and an evaluation, and how to fetch it.

The only room that imports MLflow.
"""
