"""Opens models and asks them, in the model's own Python: nothing but the standard library and numpy, and late imports.

`fitted_model.py` starts it as a package of its own, `schwift_probe`, in any Python from 3.10 on, without the rest of
schwift.
"""
