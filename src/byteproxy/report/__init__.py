"""The pages that people look at: of runs, studies, corpora, documents, views and mixtures."""
