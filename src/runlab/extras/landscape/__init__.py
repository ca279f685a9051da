"""The loss surfaces of two runs, on the plane through their start and their ends."""
