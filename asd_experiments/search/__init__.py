"""Search spaces: which configurations a sweep tries, and by what it judges them."""
