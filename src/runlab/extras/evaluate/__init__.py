"""Testing a checkpoint again, alone."""
