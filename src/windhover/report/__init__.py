"""What an evaluation found, written for people and tools: tables, curves, pictures of errors, one
page.

Holds the report and how it is drawn; refuses to judge, and to choose anything.
"""
