"""What a prepared corpus holds: figures, and one document in all its views; in the terminal and as pages."""
