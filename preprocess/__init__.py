"""Raw video to person-centred crops, body masks and optical flow."""
