"""Calls the service at argv[1] with the key argv[2] through grpcio, and prints what it got as JSON."""

import base64
import json
import sys

import grpc

address, key = sys.argv[1:]
channel = grpc.insecure_channel(address)


def call(path, secret=None):
    metadata = [("authorization", "Bearer " + secret)] if secret else []
    # Without serializers a message is its bytes; an empty message has none.
    try:
        return {"answer": text(channel.unary_unary(path)(b"", metadata=metadata, timeout=10))}
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata())
        return {
            "code": error.code().name,
            "details": error.details(),
            "status": text(trailers["grpc-status-details-bin"]),
        }


def text(message):
    return base64.b64encode(message).decode()


watching = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=10)
first = next(watching)
watching.cancel()

print(
    json.dumps(
        {
            "whoAmI": call("/patchbay.apikeys.v1.ApiKeyService/WhoAmI", key),
            "stranger": call("/patchbay.apikeys.v1.ApiKeyService/WhoAmI"),
            "check": call("/grpc.health.v1.Health/Check"),
            "watch": text(first),
        }
    )
)
