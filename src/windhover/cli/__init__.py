"""The command line: each command reads options, calls one flow and prints its result.

Libraries are imported when a command runs, so that `--help` is quick.
"""
