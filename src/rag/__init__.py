"""Semantic search and question answering over a podcast's reviews and episode summaries."""
