"""Fixed-size training samples: which windows, cut how, kept where, augmented, and shown on a sheet.

Holds all that training reads beside the scenes; refuses networks.
"""
