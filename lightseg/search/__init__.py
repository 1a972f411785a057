"""Architecture search and compound scaling under measured costs."""
