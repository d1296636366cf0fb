"""What an agent did, for people: as text in a report, and as a page."""
