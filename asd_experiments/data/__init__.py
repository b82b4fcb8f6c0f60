"""Labels, clip store, splits and clips."""
