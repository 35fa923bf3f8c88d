"""Studies: arms, sizes, budgets and seeds at equal training FLOPs, fairly tuned, with intervals."""
