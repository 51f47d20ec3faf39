"""What happens between the epochs of a training, as Lightning callbacks.

Each does one thing: keeps a history, chooses weights, plans epochs, reports, saves a checkpoint,
mines hard negatives. All read and write the module's `TrainingState`.
"""
