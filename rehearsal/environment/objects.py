"""The site's object store, as its administrator reaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from rehearsal.environment.sitedata import Secrets

ENDPOINT = "http://store.stella.test:8333"


def client(known: Secrets) -> S3Client:
    """Return a client with the rights of the site's administrator; no proxy is asked."""
    return boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        aws_access_key_id=known.access_key,
        aws_secret_access_key=known.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, proxies={}, retries={"max_attempts": 5, "mode": "standard"}),
    )
