"""Creates an agent and chats with it as the original engine's examples do; prints what came as JSON.

usage: chat_turn.py TARGET MODEL ours|published
"""

import json
import sys

import grpc

TIMEOUT_S = 40


def main():
    target, model, stubs = sys.argv[1:]
    if stubs == "ours":
        from engram.api.v1 import agent_pb2 as pb
        from engram.api.v1 import agent_pb2_grpc as rpc
    else:
        from engram.v1 import agent_pb2 as pb
        from engram.v1 import agent_pb2_grpc as rpc

    with grpc.insecure_channel(target) as channel:
        stub = rpc.AgentServiceStub(channel)
        created = stub.CreateAgent(
            pb.CreateAgentRequest(goal="Introduce yourself.", model=model, metadata={"from": "py"}),
            timeout=TIMEOUT_S,
        )

        def turn(content):
            message = pb.ClientMessage(
                agent_id=created.agent_id, user_input=pb.UserInput(content=content)
            )
            received = []
            # No timeout, no break: the loop has to end by itself.
            for response in stub.Chat(iter([message])):
                received.append(
                    {
                        "sequence": response.sequence_id,
                        "payload": response.WhichOneof("payload"),
                        "text": response.text.content,
                        "status": response.status.status,
                    }
                )
            return received

        turns = [turn("The secret code is 42."), turn("What is the secret code?")]
        agent = stub.GetAgent(pb.GetAgentRequest(agent_id=created.agent_id), timeout=TIMEOUT_S)
        listed = stub.ListAgents(pb.ListAgentsRequest(page_size=10), timeout=TIMEOUT_S).agents
        log = list(
            stub.Replay(
                pb.ReplayRequest(
                    agent_id=created.agent_id, from_sequence=1, include_history=True
                ),
                timeout=TIMEOUT_S,
            )
        )
        paused = stub.ControlAgent(
            pb.ControlAgentRequest(agent_id=created.agent_id, pause=pb.Pause(reason="lunch")),
            timeout=TIMEOUT_S,
        )
        resumed = stub.SetAgentStatus(
            pb.SetAgentStatusRequest(agent_id=created.agent_id, status="waiting_for_step"),
            timeout=TIMEOUT_S,
        )
        stub.DeleteAgent(pb.DeleteAgentRequest(agent_id=created.agent_id), timeout=TIMEOUT_S)
        try:
            stub.GetAgent(pb.GetAgentRequest(agent_id=created.agent_id), timeout=TIMEOUT_S)
            gone = None
        except grpc.RpcError as error:
            gone = error.code().name
    json.dump(
        {
            "turns": turns,
            "agent": {
                "status": agent.status,
                "goal": agent.goal,
                "metadata": dict(agent.metadata),
                "steps": agent.stats.total_steps,
            },
            "listed": [one.agent_id for one in listed] == [created.agent_id],
            "log": [message.sequence_id for message in log],
            "paused": paused.status,
            "resumed": resumed.status,
            "gone": gone,
        },
        sys.stdout,
    )


main()
