"""Models of other tools: read as ours, and ours written as theirs."""
