"""Asks for health and reflection with grpcio's own clients, and prints the answers as JSON.

usage: services.py TARGET [KEY]
"""

import json
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

TIMEOUT_S = 20


def outcome(call):
    try:
        return call()
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}


def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    status = health_pb2.HealthCheckResponse.ServingStatus

    def check(service):
        request = health_pb2.HealthCheckRequest(service=service)
        return status.Name(stub.Check(request, timeout=TIMEOUT_S).status)

    def watch(service):
        call = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
        first = status.Name(next(call).status)
        call.cancel()
        return first

    names = ["", "engram.api.v1.AgentService", "dura.api.v1.AgentService", "nobody.v1.Nothing"]
    return {
        "check": {name: outcome(lambda: check(name)) for name in names},
        "watch": {name: outcome(lambda: watch(name)) for name in names},
    }


def questions(channel, metadata, path):
    """Asks every kind of question on one stream, by the path of either name."""
    info = channel.stream_stream(
        path,
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    ask = reflection_pb2.ServerReflectionRequest
    extension = reflection_pb2.ExtensionRequest(
        containing_type="engram.api.v1.Agent", extension_number=99
    )
    asked = [
        ask(list_services="*"),
        ask(file_by_filename="engram/api/v1/agent.proto"),
        ask(file_by_filename="nothing.proto"),
        ask(file_containing_symbol="engram.api.v1.AgentService.Chat"),
        ask(file_containing_symbol="engram.api.v1.Agent.goal"),
        ask(file_containing_symbol="grpc.health.v1.HealthCheckResponse.ServingStatus"),
        ask(file_containing_symbol="no.such.Symbol"),
        ask(all_extension_numbers_of_type="engram.api.v1.Agent"),
        ask(file_containing_extension=extension),
        ask(host="h"),
    ]
    answers = []
    for answer in info(iter(asked), timeout=TIMEOUT_S, metadata=metadata):
        kind = answer.WhichOneof("message_response")
        said = {"kind": kind, "host": answer.valid_host}
        if kind == "error_response":
            said["code"] = answer.error_response.error_code
        if kind == "file_descriptor_response":
            said["files"] = len(answer.file_descriptor_response.file_descriptor_proto)
        answers.append(said)
    return answers


def reflection(channel, metadata):
    # The library's client sends no metadata and has no deadline, so both go by an interceptor.
    class WithKey(grpc.StreamStreamClientInterceptor):
        def intercept_stream_stream(self, continuation, details, requests):
            more = {"metadata": metadata, "timeout": TIMEOUT_S}
            return continuation(details._replace(**more), requests)

    database = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, WithKey()))
    pool = DescriptorPool(database)
    methods = {}
    for name in database.get_services():
        methods[name] = [method.name for method in pool.FindServiceByName(name).methods]
    agent = pool.FindMessageTypeByName("engram.api.v1.Agent")
    return {
        "methods": methods,
        "agent_fields": {field.name: field.number for field in agent.fields},
        "raw": {
            version: outcome(
                lambda: questions(
                    channel,
                    metadata,
                    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                )
            )
            for version in ["v1", "v1alpha"]
        },
    }


def main():
    target, *keys = sys.argv[1:]
    metadata = [("x-api-key", key) for key in keys]
    with grpc.insecure_channel(target) as channel:
        result = {"health": health(channel)}
        result["reflection"] = outcome(lambda: reflection(channel, metadata))
    json.dump(result, sys.stdout)


main()
