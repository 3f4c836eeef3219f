"""What breaks around the program, and what it does then; docs/reliability.md is made from these tests' records."""
