"""The judge judged: honest servers that must be clean, and broken ones that must not."""
