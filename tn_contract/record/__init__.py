"""What happened: requests, exchanges and the files that keep them."""
