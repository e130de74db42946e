"""Small Python models around files that no backend reads; `schwift new` copies one as model.py beside the file."""
