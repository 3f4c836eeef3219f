"""A document's first steps: files to documents, sentences to episodes, documents to passages."""
