"""Training a run again from its record, and how far the metrics come out apart."""
