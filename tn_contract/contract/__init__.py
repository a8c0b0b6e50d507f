"""The rules of the API, without I/O."""
