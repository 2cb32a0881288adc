import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  createRouterTransport,
} from "@connectrpc/connect";
import { agentRoutes } from "../../src/api/service.ts";
import type { Engine } from "../../src/engine/engine.ts";
import {
  AgentService,
  type ClientMessageSchema,
  type ServerMessage,
} from "../../src/gen/engram/api/v1/agent_pb.ts";
import { askedOf, makePlayedModel, type PlayedModel } from "./played-model.ts";
import { echoing, openStage, type Stage, until } from "./stage.ts";

export type ApiClient = Client<typeof AgentService>;

export const heartbeatMs = 15_000;

/** A client of the service in this process, without a port. */
export const openApi = (engine: Engine, { clock }: Stage): ApiClient =>
  createClient(AgentService, createRouterTransport(agentRoutes({ engine, clock, heartbeatMs })));

/** The code that a call fails with; throws where it does not. */
export async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    return Code[ConnectError.from(error).code];
  }
  throw new Error("the call did not fail");
}

type Sent = MessageInitShape<typeof ClientMessageSchema>;

/** One chat, from the client's side. */
export type Conversation = {
  readonly messages: readonly ServerMessage[];
  send(message: Sent): void;
  /** No more is to be sent. */
  halfClose(): void;
  /** Waits for a message, also among those that came. */
  until(what: string, holds: (message: ServerMessage) => boolean): Promise<ServerMessage>;
  /** Resolves when the stream has ended: with null, or with the code it failed with. */
  readonly ended: Promise<string | null>;
  abort(): void;
};

export function openConversation(client: ApiClient): Conversation {
  const messages: ServerMessage[] = [];
  const queue: Sent[] = [];
  const abort = new AbortController();
  let closed = false;
  let wake = (): void => {};
  async function* requests(): AsyncGenerator<Sent> {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) yield next;
      else if (closed) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  const read = async (): Promise<string | null> => {
    try {
      for await (const message of client.chat(requests(), { signal: abort.signal }))
        messages.push(message);
      return null;
    } catch (error) {
      return Code[ConnectError.from(error).code];
    }
  };
  return {
    messages,
    send: (message) => {
      queue.push(message);
      wake();
    },
    halfClose: () => {
      closed = true;
      wake();
    },
    until: async (what, holds) => {
      await until(what, () => messages.some(holds));
      return messages.find(holds)!;
    },
    ended: read(),
    abort: () => abort.abort(),
  };
}

/** A message in short: its sequence, and what it carries. */
export function brief({ sequenceId, payload }: ServerMessage): string {
  switch (payload.case) {
    case "status":
      return `${sequenceId} ${payload.value.status}`;
    case "text":
    case "thought":
    case "observation":
      return `${sequenceId} ${payload.case}: ${payload.value.content}`;
    case "textDelta":
    case "thoughtDelta":
      return `${sequenceId} ${payload.case} ${payload.value.offset}: ${payload.value.content}`;
    default:
      return `${sequenceId} ${payload.case ?? "nothing"}`;
  }
}

/** An engine with a client of its service, in this process. */
export const openService = (
  model: PlayedModel = echoing(),
): { readonly stage: Stage; readonly engine: Engine; readonly client: ApiClient } => {
  const stage = openStage();
  const engine = stage.start({ model });
  return { stage, engine, client: openApi(engine, stage) };
};

/** Asks for the tool that the user has named, and then is done. */
export const usesTools = (): PlayedModel =>
  makePlayedModel(({ messages }) =>
    messages.some(({ role }) => role === "tool")
      ? { text: ["done"] }
      : {
          text: ["let me see"],
          calls: [{ name: askedOf(messages), input: { n: 1 } }],
        },
  );
