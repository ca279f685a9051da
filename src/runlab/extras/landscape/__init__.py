"""The loss surfaces that two runs descended, on the plane through their start and their ends."""
