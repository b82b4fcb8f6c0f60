"""Two-stream networks."""
