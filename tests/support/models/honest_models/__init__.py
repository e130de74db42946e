"""Many kinds of fitted models, as people have them: `python honest_models FOLDER` saves what can be made there.

Imports what the environment has, and nothing of this project.
"""
