"""Messages → text → ids, and back."""
