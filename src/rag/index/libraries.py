"""What an index is opened with."""


def load() -> None:
    """Import it, which is a third of a cold question: whoever opens an index has its files checked meanwhile."""
    import faiss  # noqa: F401
    import onnxruntime  # noqa: F401
    import tantivy  # noqa: F401
    import tokenizers  # noqa: F401
