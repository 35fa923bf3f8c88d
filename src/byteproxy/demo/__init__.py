"""A look at the method in ten minutes: a model learns bytes beside one from scratch, or two begin from scratch."""
