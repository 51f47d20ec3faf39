"""Flows that measure and explain a model: `evaluate`, `assess`, `compare` and `explain`.

Decides which split is used for what: val for calibration and thresholds, test for the report.
Changes no weights; plots and pages are made by `windhover.report`.
"""
