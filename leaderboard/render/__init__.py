"""The board as text, Markdown, CSV, pictures and a site."""
