"""What `schwift convert` has done in a model's own Python: it is written as a graph or a library's file, and asked."""
