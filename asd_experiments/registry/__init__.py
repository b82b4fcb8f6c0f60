"""Registered versions of models: their cards, and which of them is the champion."""
