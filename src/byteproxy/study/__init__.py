"""Arms, sizes, budgets and seeds at equal training FLOPs, fairly tuned: what a method is worth, how surely."""
