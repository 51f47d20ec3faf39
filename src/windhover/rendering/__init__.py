"""What people see: pictures, contact sheets, formatted numbers and HTML pages.

Renders values that other rooms computed. Computes no metric.
"""
