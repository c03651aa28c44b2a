"""The deployment: terraform/ planned, applied and checked from a clone."""
