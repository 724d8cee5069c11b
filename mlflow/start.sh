#!/bin/sh
# Starts the MLflow server from the environment; see env.example for the variables.
set -eu
umask 077

database="postgresql+psycopg2://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${POSTGRES_HOST}:${POSTGRES_PORT:-5432}"

# MLflow reads the auth app's database from a file only
MLFLOW_AUTH_CONFIG_PATH="$(mktemp)"
cat >"$MLFLOW_AUTH_CONFIG_PATH" <<EOF
[mlflow]
default_permission = READ
database_uri = ${database}/mlflow_auth
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
grant_default_workspace_access = false
# hashing the password anew for each request costs more than the request
auth_cache_ttl_seconds = 60
EOF
export MLFLOW_AUTH_CONFIG_PATH

# in the environment, not among the arguments, which every process on the machine can read
export MLFLOW_BACKEND_STORE_URI="${database}/mlflow"
export MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false

exec mlflow server \
    --app-name basic-auth \
    --host "${LISTEN_HOST:-0.0.0.0}" --port "${LISTEN_PORT:-5000}" \
    --workers "${WORKERS:-2}" \
    --allowed-hosts "$ALLOWED_HOSTS" \
    --cors-allowed-origins "$ALLOWED_ORIGINS" \
    --serve-artifacts --artifacts-destination "${ARTIFACTS_DESTINATION:-/artifacts}"
