"""`rag doctor`, shown by breaking what it examines."""
