"""A small S3-compatible server on this machine, in memory: the verbs that Arrow's client needs, and no more.

Any credentials are good and nothing is signed. Buckets are made, deleted and looked for; objects are put (whole or in
parts), got (also ranges of them), looked for, listed by prefix and delimiter, and deleted.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from itertools import count
from typing import BinaryIO
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

Bucket = dict[str, bytes]
_TIME = "2024-05-06T07:08:09.000Z", "Mon, 06 May 2024 07:08:09 GMT"
_XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"


class S3Server(ThreadingHTTPServer):
    """Listens on a free port of the loopback address; ``buckets`` hold what was put."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.buckets: dict[str, Bucket] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.numbers = count(1)

    @property
    def address(self) -> str:
        """What ``AWS_ENDPOINT_URL`` wants."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def running_s3_server() -> Iterator[S3Server]:
    """A server that answers while the block runs."""
    server = S3Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection. Paths are ``/bucket`` and ``/bucket/key``."""

    protocol_version = "HTTP/1.1"
    server: S3Server

    def do_GET(self) -> None:
        bucket, key, query = self._asked()
        if key:
            self._send_object(bucket, key)
        elif bucket not in self.server.buckets:
            self._refuse("NoSuchBucket")
        else:
            self._send_xml(_listing(self.server.buckets[bucket], query))

    def do_HEAD(self) -> None:
        bucket, key, _ = self._asked()
        if key:
            self._send_object(bucket, key)
        elif bucket in self.server.buckets:
            self._send(HTTPStatus.OK)
        else:
            self._refuse("NoSuchBucket")

    def do_PUT(self) -> None:
        bucket, key, query = self._asked()
        body = self._body()
        if not key:
            self.server.buckets.setdefault(bucket, {})
            self._send(HTTPStatus.OK)
        elif bucket not in self.server.buckets:
            self._refuse("NoSuchBucket")
        else:
            if "uploadId" in query:
                self.server.uploads[query["uploadId"]][int(query["partNumber"])] = body
            else:
                self.server.buckets[bucket][key] = body
            self._send(HTTPStatus.OK, headers={"ETag": _etag(body)})

    def do_POST(self) -> None:
        bucket, key, query = self._asked()
        body = self._body()
        if bucket not in self.server.buckets:
            self._refuse("NoSuchBucket")
        elif "uploads" in query:
            number = f"upload-{next(self.server.numbers)}"
            self.server.uploads[number] = {}
            self._send_xml(
                f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
            )
        elif "uploadId" in query:
            parts = self.server.uploads.pop(query["uploadId"])
            self.server.buckets[bucket][key] = b"".join(parts[number] for number in sorted(parts))
            self._send_xml("<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")
        else:  # delete many
            for element in ElementTree.fromstring(body).iter(f"{{{_XMLNS}}}Key"):
                self.server.buckets[bucket].pop(element.text or "", None)
            self._send_xml("<DeleteResult></DeleteResult>")

    def do_DELETE(self) -> None:
        bucket, key, query = self._asked()
        if "uploadId" in query:
            self.server.uploads.pop(query["uploadId"], None)
        elif key:
            self.server.buckets.get(bucket, {}).pop(key, None)
        else:
            self.server.buckets.pop(bucket, None)
        self._send(HTTPStatus.NO_CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _asked(self) -> tuple[str, str, dict[str, str]]:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
        return bucket, key, dict(parse_qsl(parts.query, keep_blank_values=True))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            body = _unchunked(self.rfile)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return _unchunked(BytesIO(body)) if "aws-chunked" in self.headers.get("Content-Encoding", "") else body

    def _send_object(self, bucket: str, key: str) -> None:
        data = self.server.buckets.get(bucket, {}).get(key)
        if data is None:
            self._refuse("NoSuchKey")
            return
        headers = {"ETag": _etag(data), "Last-Modified": _TIME[1], "Accept-Ranges": "bytes"}
        status, part = HTTPStatus.OK, data
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            end = min(int(last or len(data)), len(data) - 1)
            status, part = HTTPStatus.PARTIAL_CONTENT, data[int(first) : end + 1]
            headers["Content-Range"] = f"bytes {first}-{end}/{len(data)}"
        self._send(status, part, headers)

    def _send_xml(self, text: str) -> None:
        name, rest = text[1:].split(">", 1)
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{_XMLNS}">{rest}'.encode()
        self._send(HTTPStatus.OK, body, {"Content-Type": "application/xml"})

    def _refuse(self, code: str) -> None:
        body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._send(HTTPStatus.NOT_FOUND, body.encode(), {"Content-Type": "application/xml"})

    def _send(self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _listing(bucket: Bucket, query: dict[str, str]) -> str:
    """The answer to ListObjectsV2, all of it at once."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    most = int(query.get("max-keys", 1000))
    keys, folders = [], []
    for key in sorted(bucket):
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            folders += [f"{prefix}{head}{delimiter}"] if found else []
            keys += [] if found else [key]
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>{_TIME[0]}</LastModified><ETag>{_etag(bucket[key])}</ETag>"
        f"<Size>{len(bucket[key])}</Size></Contents>"
        for key in keys[:most]
    )
    common = "".join(f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in dict.fromkeys(folders))
    return (
        f"<ListBucketResult><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(keys[:most])}</KeyCount>"
        f"<MaxKeys>{most}</MaxKeys><IsTruncated>false</IsTruncated>{contents}{common}</ListBucketResult>"
    )


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _unchunked(body: BinaryIO) -> bytes:
    """The content of a body in chunks, HTTP's or AWS's: a hexadecimal length before each, trailers last."""
    parts = []
    while size := int(body.readline().split(b";")[0], 16):
        parts.append(body.read(size))
        body.readline()
    while body.readline().strip():
        pass
    return b"".join(parts)
