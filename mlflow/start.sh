#!/bin/sh
# Starts the MLflow server from the environment; see env.example for the variables.
set -eu
umask 077

database="postgresql+psycopg2://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${POSTGRES_HOST}:${POSTGRES_PORT:-5432}"

# MLflow reads the auth app's database from a file only
MLFLOW_AUTH_CONFIG_PATH="$(mktemp)"
cat >"$MLFLOW_AUTH_CONFIG_PATH" <<EOF
[mlflow]
default_permission = ${DEFAULT_PERMISSION:-EDIT}
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

# stores that speak S3: the bucket in the path, and no checksums that only AWS knows
export MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE=path
export AWS_REQUEST_CHECKSUM_CALCULATION=when_required
export AWS_RESPONSE_CHECKSUM_VALIDATION=when_required
[ -n "${MLFLOW_S3_ENDPOINT_URL:-}" ] || unset MLFLOW_S3_ENDPOINT_URL

# MLflow makes no bucket: without one the first artifact would fail, in the middle of a search
python - "$ARTIFACTS_DESTINATION" <<'EOF'
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

bucket = sys.argv[1].removeprefix("s3://").split("/")[0]
endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL")
client = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))
try:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as missing:
        if missing.response["Error"]["Code"] not in ("404", "NoSuchBucket"):
            raise
        client.create_bucket(Bucket=bucket)
        print(f"made the bucket {bucket}", flush=True)
except (BotoCoreError, ClientError) as failure:
    sys.exit(f"the artifact store at {endpoint or 'AWS'} refuses the bucket {bucket}: {failure}")
EOF

exec mlflow server \
    --app-name basic-auth \
    --host "${LISTEN_HOST:-0.0.0.0}" --port "${LISTEN_PORT:-5000}" \
    --workers "${WORKERS:-2}" \
    --allowed-hosts "$ALLOWED_HOSTS" \
    --cors-allowed-origins "$ALLOWED_ORIGINS" \
    --serve-artifacts --artifacts-destination "$ARTIFACTS_DESTINATION"
