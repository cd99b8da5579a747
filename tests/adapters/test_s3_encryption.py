"""The settings of docs/stores.md for encryption by the store, before an S3 that remembers them."""

from __future__ import annotations

import pytest

from ddx.adapters.mlflow_runs import files

pytest.importorskip("boto3", reason="needs boto3")


def test_each_file_is_written_with_the_encryption_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import boto3
    from mlflow.store.artifact import s3_artifact_repo
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "something",
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
            "MLFLOW_S3_UPLOAD_EXTRA_ARGS": '{"ServerSideEncryption": "aws:kms",'
            ' "SSEKMSKeyId": "our-key"}',
        }.items():
            monkeypatch.setenv(name, value)
        # Both keep the credentials of another test, for the life of the process.
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        s3_artifact_repo._cached_get_s3_client.cache_clear()
        s3 = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        s3.create_bucket(Bucket="bucket")
        files.store({"s3://bucket/1/run/artifacts": {"input_case.txt": b"fever", "r.json": b"{}"}})
        for name in ("input_case.txt", "r.json"):
            found = s3.head_object(Bucket="bucket", Key=f"1/run/artifacts/{name}")
            said = (found["ServerSideEncryption"], found["SSEKMSKeyId"])
            assert said == ("aws:kms", "our-key")
    finally:
        server.stop()
        s3_artifact_repo._cached_get_s3_client.cache_clear()
