"""Many runs: a grid of them or a search, how they are launched, how far they are."""
