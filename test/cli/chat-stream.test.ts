import { create } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "bun:test";
import { type Heard, makeChatStream } from "../../src/cli/chat/stream.ts";
import {
  AgentSchema,
  type AgentService,
  type ClientMessage,
  type ServerMessage,
  ServerMessageSchema,
} from "../../src/gen/engram/api/v1/agent_pb.ts";

type Reply = (messages: readonly ClientMessage[]) => readonly ServerMessage[];

const text = (content: string): ServerMessage =>
  create(ServerMessageSchema, { sequenceId: 5n, payload: { case: "text", value: { content } } });

const said = (message: string): ServerMessage =>
  create(ServerMessageSchema, {
    sequenceId: 4n,
    payload: { case: "status", value: { status: "user_input", message } },
  });

/** An engine whose agent rests; each stream is answered by the next of the replies. */
const fakeClient = (replies: readonly Reply[]) => {
  const streams: ClientMessage[][] = [];
  const client = {
    getAgent: async () => create(AgentSchema, { agentId: "a", status: "waiting_for_input" }),
    async *chat(requests: AsyncIterable<ClientMessage>) {
      const messages: ClientMessage[] = [];
      streams.push(messages);
      const reply = replies[streams.length - 1];
      for await (const message of requests) messages.push(message);
      yield* reply?.(messages) ?? [];
    },
  };
  return { client: client as unknown as Client<typeof AgentService>, streams };
};

const refuse = (code: Code): never => {
  throw new ConnectError("no", code, { "grpc-status": String(code) });
};

const kinds = async (heard: AsyncGenerator<Heard>, count: number): Promise<readonly string[]> => {
  const list: string[] = [];
  while (list.length < count) {
    const next = await heard.next();
    if (next.done === true) break;
    list.push(next.value.kind);
  }
  return list;
};

const says = (content: string) => ({ case: "userInput", value: { content } }) as const;

test("a message that is refused is dropped, and the agent rests again", async () => {
  const { client, streams } = fakeClient([() => [], () => refuse(Code.InvalidArgument), () => []]);
  const stream = makeChatStream(client, "a", 1n);
  const heard = stream.hear();
  expect(await kinds(heard, 2)).toEqual(["attached", "rests"]);
  stream.send(says("too long"));
  expect(stream.isAllRecorded()).toBe(false);
  expect(await kinds(heard, 2)).toEqual(["attached", "refused"]);
  expect(stream.isAllRecorded()).toBe(true);
  expect(await kinds(heard, 2)).toEqual(["attached", "rests"]);
  expect(streams.map(({ length }) => length)).toEqual([1, 2, 1]);
});

test("a message is sent with one id until a stream that took it has ended well", async () => {
  const { client, streams } = fakeClient([
    () => refuse(Code.Unavailable),
    // What it said comes back as an event, where no stream has brought its acknowledgement.
    () => [said("hello"), said("hello of another's"), text("answer")],
    () => [],
  ]);
  const stream = makeChatStream(client, "a", 1n);
  stream.send(says("hello"));
  const heard = stream.hear();
  const expected = ["attached", "away", "back", "attached", "message", "message", "rests"];
  expect(await kinds(heard, 7)).toEqual(expected);
  expect(stream.isAllRecorded()).toBe(true);
  expect(streams[0]?.[1]?.messageId).toMatch(/./);
  expect(streams[1]?.[1]?.messageId).toBe(streams[0]![1]!.messageId);
  stream.send(says("again"));
  await kinds(heard, 2);
  // Behind what was heard last, and without what was taken.
  const contents = streams[2]?.map(({ payload }) => payload.case === "userInput" && payload.value);
  expect(streams[2]?.[0]?.resumeFromSequence).toBe(5n);
  expect(contents).toMatchObject([false, { content: "again" }]);
});

test("an agent that is gone ends the conversation", async () => {
  const { client } = fakeClient([() => refuse(Code.NotFound)]);
  const heard = makeChatStream(client, "a", 1n).hear();
  await heard.next();
  await expect(heard.next()).rejects.toThrow("no");
});
