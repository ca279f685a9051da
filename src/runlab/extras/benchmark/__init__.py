"""How long a training step takes, beside a bare loop, other Lightning code and the arithmetic."""
