"""For development only: data to look at."""
