"""Stats: tests, and what paired experiments say."""
