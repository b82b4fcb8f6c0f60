"""Training with Lightning: one fold, and all of them."""
