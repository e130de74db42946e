"""The kinds of models, made in the environment of the zoo: nothing of the project but what is beside is imported."""
