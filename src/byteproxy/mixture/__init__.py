"""Which passage is shown in which representation, and when."""
