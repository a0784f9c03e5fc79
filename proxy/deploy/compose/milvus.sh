#!/bin/sh
set -eu
MINIO_ACCESS_KEY_ID="$(cat /run/secrets/objects_user)"
MINIO_SECRET_ACCESS_KEY="$(cat /run/secrets/objects_password)"
COMMON_SECURITY_DEFAULTROOTPASSWORD="$(cat /run/secrets/milvus_root_password)"
export MINIO_ACCESS_KEY_ID MINIO_SECRET_ACCESS_KEY COMMON_SECURITY_DEFAULTROOTPASSWORD
exec milvus run "$1"
