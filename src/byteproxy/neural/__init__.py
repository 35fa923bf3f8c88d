"""The model behind the neural view: trained on windows, asked for counts, and compiled into a view."""
