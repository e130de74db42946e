"""What a model is: shared by the converter and the adapter. Imports stdlib, pydantic and yaml only."""
