"""Calls AgentService under both of its names with grpcio, and prints what came of it as JSON.

usage: agents.py TARGET CA_FILE|- [KEY]
"""

import json
import sys

import grpc
from dura.api.v1 import agent_pb2_grpc as dura_grpc
from engram.api.v1 import agent_pb2 as pb
from engram.api.v1 import agent_pb2_grpc as engram_grpc

TIMEOUT_S = 20


def outcome(call):
    try:
        return call()
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}


def messages(stream):
    return [[m.agent_id, m.sequence_id, m.text.content] for m in stream]


def say(*contents):
    for content in contents:
        yield pb.ClientMessage(agent_id="a", user_input=pb.UserInput(content=content))


def calls(stub, metadata):
    options = {"timeout": TIMEOUT_S, "metadata": metadata}
    create = lambda goal: stub.CreateAgent(pb.CreateAgentRequest(goal=goal), **options).agent_id
    get = lambda **more: stub.GetAgent(pb.GetAgentRequest(agent_id="a"), **options, **more).agent_id
    return {
        "unary": outcome(lambda: create("tidy up")),
        "gzip": outcome(lambda: create("g" * 100_000)[:3]),
        "refuse": outcome(lambda: create("refuse")),
        "bug": outcome(lambda: create("bug")),
        "unknown": outcome(lambda: create("unknown")),
        "large": outcome(lambda: create("x" * (5 << 20))),
        "get": outcome(get),
        "gzipped_get": outcome(lambda: get(compression=grpc.Compression.Gzip)),
        "chat": outcome(lambda: messages(stub.Chat(say("one", "two", "three"), **options))),
        "empty_chat": outcome(lambda: messages(stub.Chat(say(), **options))),
        "replay": outcome(lambda: messages(stub.Replay(pb.ReplayRequest(agent_id="r"), **options))),
        "replay_bug": outcome(
            lambda: messages(stub.Replay(pb.ReplayRequest(agent_id="bug"), **options))
        ),
        "not_there": outcome(
            lambda: stub.SetAgentStatus(pb.SetAgentStatusRequest(), **options).status
        ),
    }


def main():
    target, ca_file, *keys = sys.argv[1:]
    metadata = [("x-api-key", key) for key in keys]
    if ca_file == "-":
        channel = grpc.insecure_channel(target)
    else:
        with open(ca_file, "rb") as file:
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(file.read()))
    with channel:
        result = {
            "engram": calls(engram_grpc.AgentServiceStub(channel), metadata),
            "dura": calls(dura_grpc.AgentServiceStub(channel), metadata),
        }
        unknown = channel.unary_unary("/engram.api.v1.AgentService/Nothing")
        result["nothing"] = outcome(lambda: unknown(b"", timeout=TIMEOUT_S, metadata=metadata))
    json.dump(result, sys.stdout)


main()
