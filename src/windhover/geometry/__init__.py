"""Numbers of the pixel grid and of the ground: windows, boxes, who is near whom, px to metres and
back.

Holds arithmetic on arrays and shapes alone; refuses files and networks.
"""
