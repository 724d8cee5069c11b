-- PostgreSQL's image makes the database `mlflow` itself. The other two stand apart: MLflow's auth
-- app keeps its users in one, and Optuna can keep studies in the other (`--storage`). Optuna and
-- MLflow must not share a database: both migrate their schema under the same table name.
CREATE DATABASE mlflow_auth;
CREATE DATABASE optuna;
