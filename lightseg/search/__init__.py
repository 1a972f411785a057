"""Looking for nets and for their scaling, under measured costs."""
