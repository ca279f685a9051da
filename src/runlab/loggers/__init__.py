"""What loggers are told of a run besides its curves, and how curves go on when a run does."""
