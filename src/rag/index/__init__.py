"""What is built and kept: terms, vectors, and the folder that holds them whole or not at all."""
