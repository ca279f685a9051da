"""What the scripts share: Hydra's entry point, and how a process ends."""
