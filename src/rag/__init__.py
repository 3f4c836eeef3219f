"""Semantic search and question answering over a podcast's reviews and episode summaries."""

import os

# ONNX Runtime from 1.29 on sends what it is used for to its makers unless this is set before it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
