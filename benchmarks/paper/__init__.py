"""The figures and tables of the paper, measured again."""
