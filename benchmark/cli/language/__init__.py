"""Commands on language models and their checkpoints."""
