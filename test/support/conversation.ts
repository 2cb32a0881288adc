import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { makeMessageQueue } from "../../src/cli/message-queue.ts";
import {
  type Agent,
  type AgentService,
  ClientMessageSchema,
  type CreateAgentRequestSchema,
  type ServerMessage,
} from "../../src/gen/engram/api/v1/agent_pb.ts";
import { type Listener, makeListener } from "./listener.ts";

type AgentClient = Client<typeof AgentService>;

type Outgoing = Omit<MessageInitShape<typeof ClientMessageSchema>, "$typeName">;

/** One stream of Chat; what comes is held to the contract by a listener. */
export type Chat = AsyncDisposable & {
  readonly heard: readonly ServerMessage[];
  readonly listener: Listener;
  send(message: Outgoing): void;
  say(content: string, messageId?: string): void;
  /** Reads on until a message fits, and gives it. Fails where the stream ends before. */
  until(fits: (message: ServerMessage) => boolean): Promise<ServerMessage>;
  /** Half-closes and reads to the stream's end; gives what came. */
  end(): Promise<readonly ServerMessage[]>;
  /** Reads until the stream breaks off, and gives the error. */
  broken(): Promise<ConnectError>;
};

/** Attaches to an agent; `after` is resume_from_sequence. `listener`: one that was attached before and goes on. */
export const openChat = (
  client: AgentClient,
  agentId: string,
  { after = 0n, listener = makeListener() }: { after?: bigint; listener?: Listener } = {},
): Chat => {
  const outgoing = makeMessageQueue();
  const heard: ServerMessage[] = [];
  const controller = new AbortController();
  outgoing.push(create(ClientMessageSchema, { agentId, resumeFromSequence: after }));
  listener.attach(after === 0n ? null : after);
  const messages = client.chat(outgoing.read(), { signal: controller.signal });
  const stream = messages[Symbol.asyncIterator]();
  const send = (message: Outgoing): void =>
    outgoing.push(create(ClientMessageSchema, { agentId, ...message }));
  const next = async (): Promise<ServerMessage | null> => {
    const result = await stream.next();
    if (result.done === true) return null;
    heard.push(result.value);
    listener.hear(result.value);
    return result.value;
  };
  return {
    heard,
    listener,
    send,
    say: (content, messageId = "") =>
      send({ messageId, payload: { case: "userInput", value: { content } } }),
    until: async (fits) => {
      for (;;) {
        const message = await next();
        if (message === null)
          throw new Error(`the stream ended after ${heard.map(caseOf).join(" ")}`);
        if (fits(message)) return message;
      }
    },
    end: async () => {
      outgoing.close();
      while ((await next()) !== null);
      return heard;
    },
    broken: async () => {
      try {
        while ((await next()) !== null);
      } catch (error) {
        outgoing.close();
        if (error instanceof ConnectError) return error;
        throw error;
      }
      throw new Error("the stream ended and did not break");
    },
    [Symbol.asyncDispose]: async () => {
      outgoing.close();
      controller.abort();
      await stream.return?.(undefined).catch(() => {});
    },
  };
};

const caseOf = ({ payload }: ServerMessage): string => payload.case ?? "nothing";

/** A condition on a message: its payload is of this case. */
export const is =
  (name: NonNullable<ServerMessage["payload"]["case"]>) =>
  ({ payload }: ServerMessage): boolean =>
    payload.case === name;

/** A condition on a message: it is a status update with this word. */
export const isStatus =
  (word: string) =>
  ({ payload }: ServerMessage): boolean =>
    payload.case === "status" && payload.value.status === word;

type Payload = ServerMessage["payload"];
type Payloads = { [One in Payload as One["case"] & string]: One["value"] };

/** The values of the messages of one case, in order. */
export const valuesOf = <Case extends keyof Payloads>(
  messages: readonly ServerMessage[],
  name: Case,
): readonly Payloads[Case][] =>
  messages.flatMap(({ payload }) =>
    payload.case === name ? [payload.value as Payloads[Case]] : [],
  );

/** An agent that waits for input. */
export const createAgent = async (
  client: AgentClient,
  wishes: Omit<MessageInitShape<typeof CreateAgentRequestSchema>, "$typeName"> = {},
): Promise<string> => {
  const { config, ...rest } = wishes;
  const { agentId } = await client.createAgent({
    goal: "help the user",
    model: "scripted:instant",
    ...rest,
    config: { waitForInput: true, ...config },
  });
  return agentId;
};

/** Says something on a stream of its own and reads to the end of the turn. */
export const talk = async (
  client: AgentClient,
  agentId: string,
  content: string,
): Promise<readonly ServerMessage[]> => {
  await using chat = openChat(client, agentId);
  chat.say(content);
  return await chat.end();
};

/** The whole log as messages; fails where it has a gap. */
export const historyOf = async (
  client: AgentClient,
  agentId: string,
): Promise<readonly ServerMessage[]> => {
  const history: ServerMessage[] = [];
  for await (const message of client.replay({ agentId, fromSequence: 1n, includeHistory: true }))
    history.push(message);
  for (const [index, { sequenceId }] of history.entries())
    if (sequenceId !== BigInt(index + 1))
      throw new Error(`event ${sequenceId} stands at place ${index + 1} of the log`);
  return history;
};

/** The agent as it is when it next rests. */
export const restingAgent = async (client: AgentClient, agentId: string): Promise<Agent> => {
  await using chat = openChat(client, agentId);
  await chat.end();
  return await client.getAgent({ agentId });
};

/** What a call was refused with. Fails where it was not. */
export const refusalOf = async (call: Promise<unknown>): Promise<ConnectError> => {
  try {
    await call;
  } catch (error) {
    if (error instanceof ConnectError && error.code !== Code.Unknown) return error;
    throw error;
  }
  throw new Error("the call was not refused");
};
