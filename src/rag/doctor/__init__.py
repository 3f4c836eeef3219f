"""Is this installation well? Every check says what it found, and how to mend it."""
