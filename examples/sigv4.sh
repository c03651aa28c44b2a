#!/bin/sh
# A function URL that wants signatures (AWS_IAM), by curl 7.75 or newer. The credentials are the environment's:
# eval "$(aws configure export-credentials --format env)"
#
# OPENAI_BASE_URL=https://ID.lambda-url.eu-central-1.on.aws/v1 AWS_REGION=eu-central-1 sh examples/sigv4.sh "What is Firebrick?"
set -eu
question=${1:-What is Firebrick?}
# The service is lambda, and the token belongs into the signed request where the credentials are temporary.
set -- --aws-sigv4 "aws:amz:${AWS_REGION:?}:lambda" --user "${AWS_ACCESS_KEY_ID:?}:${AWS_SECRET_ACCESS_KEY:?}"
if [ -n "${AWS_SESSION_TOKEN:-}" ]; then
  set -- "$@" --header "x-amz-security-token: $AWS_SESSION_TOKEN"
fi

python3 -c '
import json, sys
message = {"role": "user", "content": sys.argv[1]}
print(json.dumps({"model": sys.argv[2], "messages": [message], "max_tokens": 200, "stream": True}))
' "$question" "${MODEL:-firebrick-demo}" |
  curl --no-buffer --silent --show-error --fail-with-body "$@" \
    --header "content-type: application/json" --data-binary @- "${OPENAI_BASE_URL:?}/chat/completions"
