"""What a sweep says: tables, figures and statistics, read from what its runs left."""
