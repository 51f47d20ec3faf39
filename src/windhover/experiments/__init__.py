"""Many trainings, or a try before one: k-fold by place, the search of parameters, short trials.

Holds flows over other flows; refuses to know how a network learns or is judged.
"""
