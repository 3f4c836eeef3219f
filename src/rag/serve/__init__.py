"""The HTTP edge: wire models live and die here."""
