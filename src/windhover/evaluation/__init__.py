"""How good a model is, and why it scores as it does: the flows of `evaluate`, `assess`, `compare`
and `explain`.

Holds which split tells what; refuses to change weights, and leaves drawing to the pages.
"""
