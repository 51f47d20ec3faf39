"""Searches beyond one machine: planned as tasks, run anywhere, collected as one process would.

A plan is a folder with a table of scenes and one of tasks. Each task leaves one file, a part, that
may be made again at any time; what is collected does not depend on who ran which task.
"""
