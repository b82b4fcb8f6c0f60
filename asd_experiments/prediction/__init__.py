"""A logged model's answers for a folder of videos, and its validation where the truth is known."""
