"""The evaluation report: metrics as JSON, curves as tables and plots, pictures of errors, one page.

Writes the result of `windhover.evaluation`. Matches nothing and chooses no threshold.
"""
