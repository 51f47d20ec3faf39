"""Every window of a scene of any size, scored once and read off, and the commands that ask for it.

Holds blocks, passes and peaks; refuses to judge what is found, and to change the model.
"""
