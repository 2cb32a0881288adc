import { create } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import {
  AgentService,
  ClientMessageSchema,
  type ServerMessage,
} from "../../gen/engram/api/v1/agent_pb.ts";

/** A connection of one client's own. */
export type Connection = {
  readonly client: Client<typeof AgentService>;
  /** Breaks it off with every stream on it, as a network does. */
  drop(): void;
};

/** A gRPC connection to the engine at `url`; it is made at the first call. */
export function makeConnection(url: string): Connection {
  const sessionManager = new Http2SessionManager(url);
  const transport = createGrpcTransport({ baseUrl: url, sessionManager });
  return { client: createClient(AgentService, transport), drop: () => sessionManager.abort() };
}

export type DemoClient = {
  /** Makes an agent that waits for input. */
  createAgent(goal: string, model: string): Promise<string>;
  /** Says something (empty: only attaches, from behind event `after`) and gives what the agent sends until it rests. */
  chat(agentId: string, content: string, after: bigint): AsyncIterable<ServerMessage>;
  /** The whole log as messages. */
  history(agentId: string): AsyncIterable<ServerMessage>;
};

/** A gRPC client of the engine at `url`. */
export function makeDemoClient(url: string): DemoClient {
  const { client } = makeConnection(url);
  return {
    createAgent: async (goal, model) =>
      (await client.createAgent({ goal, model, config: { waitForInput: true } })).agentId,
    chat: (agentId, content, after) => client.chat(once(agentId, content, after)),
    history: (agentId) => client.replay({ agentId, fromSequence: 1n, includeHistory: true }),
  };
}

async function* once(agentId: string, content: string, after: bigint) {
  yield create(ClientMessageSchema, {
    agentId,
    resumeFromSequence: after,
    ...(content === "" ? {} : { payload: { case: "userInput", value: { content } } }),
  });
}
