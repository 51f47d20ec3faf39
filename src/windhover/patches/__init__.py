"""Fixed-size training samples: windows chosen, cut, stored, augmented and shown on a sheet.

Holds all that training reads except the scenes; knows no network.
"""
