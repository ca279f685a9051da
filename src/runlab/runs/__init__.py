"""A run's life: its record and lock, its checkpoints, how it goes on after it was stopped."""
