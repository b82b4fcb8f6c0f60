"""Tables and pages about trials that have finished; nothing here trains."""
