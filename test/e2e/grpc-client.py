"""Makes calls of the echo service through gRPC's own xDS client: one for each line of stdin, answered by one line with
the name of the server that answered. Argument: the target, "xds:///NAME"."""

import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1])
call = channel.unary_unary("/chancery.test.v1.Echo/Unary")
for line in sys.stdin:
    try:
        answer, details = call.with_call(line.strip().encode(), timeout=5, wait_for_ready=True)
        print(dict(details.initial_metadata())["x-served-by"], flush=True)
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", flush=True)
