"""Who may ask: API keys, and where they come from."""
