import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type ClientMessage,
  ClientMessageSchema,
  type ServerMessage,
} from "../../gen/engram/api/v1/agent_pb.ts";
import { makeMessageQueue } from "../message-queue.ts";

export type Payload = NonNullable<MessageInitShape<typeof ClientMessageSchema>["payload"]>;

/** What a chat sends on one stream. */
export type Sending = {
  readonly messages: AsyncIterable<ClientMessage>;
  /** Nothing was half-closed yet. */
  isOpen(): boolean;
  /** Sends what is left, and half-closes: the stream then ends when the agent rests, which no other word says. */
  finish(): void;
  /** How many messages besides the first. */
  count(): number;
  /** They are recorded, or refused for good: not to be sent again. */
  forget(): void;
};

/** A client's place in an agent's log, and what it said that is not known to be recorded; each message may be sent on several streams. */
export type Outbox = {
  add(payload: Payload): void;
  /** A stream that attaches behind what was taken. */
  attach(): Sending;
  /** Takes what a stream brings. Whether it is news: no sign of life, nor what this client said. */
  take(message: ServerMessage): boolean;
  isEmpty(): boolean;
  /** Whether every text of the user's has been acknowledged at least. */
  isRecorded(): boolean;
};

/** Behind the event `after`, with nothing to send. */
export function makeOutbox(agentId: string, after: bigint): Outbox {
  const pending = new Set<ClientMessage>();
  let sequence = after;
  /** On the newest stream. */
  let acknowledged = 0;
  return {
    add: (payload) => {
      const messageId = crypto.randomUUID();
      pending.add(create(ClientMessageSchema, { agentId, messageId, payload }));
    },
    attach: () => {
      acknowledged = 0;
      return makeSending(
        create(ClientMessageSchema, { agentId, resumeFromSequence: sequence }),
        pending,
      );
    },
    take: ({ payload, sequenceId }) => {
      if (sequenceId > sequence) sequence = sequenceId;
      if (payload.case !== "status") return payload.case !== "heartbeat";
      const { status, message } = payload.value;
      if (status === "waiting") acknowledged++;
      return (
        status !== "waiting" && !(status === "user_input" && textsIn(pending).includes(message))
      );
    },
    isEmpty: () => pending.size === 0,
    isRecorded: () => textsIn(pending).length <= acknowledged,
  };
}

function makeSending(first: ClientMessage, pending: Set<ClientMessage>): Sending {
  const queue = makeMessageQueue();
  const sent = new Set<ClientMessage>();
  let isOpen = true;
  queue.push(first);
  return {
    messages: queue.read(),
    isOpen: () => isOpen,
    finish: () => {
      for (const message of pending) queue.push(message);
      for (const message of pending) sent.add(message);
      isOpen = false;
      queue.close();
    },
    count: () => sent.size,
    forget: () => {
      for (const message of sent) pending.delete(message);
    },
  };
}

/** What the user said: another client's words would be the same to the letter. */
const textsIn = (messages: ReadonlySet<ClientMessage>): readonly string[] =>
  [...messages].flatMap(({ payload }) =>
    payload.case === "userInput" ? [payload.value.content] : [],
  );
