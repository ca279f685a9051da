"""What a configuration may hold, what identifies a run, what a user is told of a mistake."""
