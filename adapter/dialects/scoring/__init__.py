"""KServe's V1 protocol, and MLflow's and SageMaker's: rows in lists, objects, tables or CSV; predictions in lists."""
