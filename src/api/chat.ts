import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { isResting, statusOf } from "../agent/state.ts";
import type { Clock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import type { Engine } from "../engine/engine.ts";
import type { Followed, Follower } from "../engine/follow.ts";
import type { ClientMessage, ServerMessage } from "../gen/engram/api/v1/agent_pb.ts";
import { storeLimits } from "../limits.ts";
import { commandOf } from "./commands.ts";
import { failureOf } from "./failures.ts";
import { makeObserved, type Observed } from "./observed.ts";
import { sequenceOf } from "./spec.ts";
import { makeSilence } from "./silence.ts";
import { ackOf, deltaMessageOf, heartbeatOf, serverMessageOf } from "./wire.ts";

export type StreamParts = {
  readonly engine: Engine;
  readonly clock: Clock;
  /** Silence on a stream is broken after this long. */
  readonly heartbeatMs: number;
};

type Ack = { readonly sequence: number; readonly status: string; readonly isNew: boolean };

/** The client's side of a chat: its messages recorded one after the other, and what is to be answered. */
type Inputs = {
  /** Ends when the client has half-closed and all is recorded; fails as a message was refused. */
  readonly done: Promise<void>;
  readonly finished: () => boolean;
  /** Resolves when no message is just being recorded. */
  settled(): Promise<void>;
  /** Takes the answer that an event of this client's stands for. */
  answerTo(sequence: number): Ack | null;
  /** Takes the answers that no event stands for, to what the stream's place has reached: to repetitions, and to what changed nothing. */
  late(cursor: number): readonly Ack[];
};

/**
 * Chat: attaches to the agent that the first message names, records what the client sends, and sends what happens. It
 * ends when the client has half-closed and the agent rests with nothing of it left undone.
 */
export async function* chat(
  parts: StreamParts,
  requests: AsyncIterable<ClientMessage>,
  context: HandlerContext,
): AsyncGenerator<ServerMessage> {
  const messages = requests[Symbol.asyncIterator]();
  const first = await messages.next();
  // Also what a call that was canceled before its first message looks like.
  if (first.done === true)
    throw new ConnectError("send a first message that names the agent", Code.InvalidArgument);
  const { agentId, resumeFromSequence } = first.value;
  if (agentId === "")
    throw new EngramError("invalid_argument", "agent_id is missing in the first message");
  const resume = sequenceOf("resume_from_sequence", resumeFromSequence);
  const row = await parts.engine.get(agentId);
  if (resume > row.sequence)
    throw new EngramError(
      "invalid_argument",
      `resume_from_sequence is ${resume}, but the log of ${agentId} ends at ${row.sequence}`,
    );
  const follower = await parts.engine.follow(agentId, resume === 0 ? null : resume, true);
  const inputs = takeInputs(parts, agentId, { first: first.value, rest: messages }, follower.wake);
  context.signal.addEventListener("abort", follower.wake, { once: true });
  try {
    yield* output(parts, { agentId, observed: makeObserved(row) }, follower, {
      inputs,
      signal: context.signal,
    });
  } finally {
    // What is recorded stays recorded; what the client had not yet sent is not waited for.
    follower.close();
  }
}

async function* output(
  { engine, clock, heartbeatMs }: StreamParts,
  agent: { readonly agentId: string; readonly observed: Observed },
  follower: Follower,
  { inputs, signal }: { readonly inputs: Inputs; readonly signal: AbortSignal },
): AsyncGenerator<ServerMessage> {
  const { agentId } = agent;
  let cursor = (await engine.get(agentId)).sequence;
  const silence = makeSilence(clock, heartbeatMs);
  for (;;) {
    signal.throwIfAborted();
    const followed = await follower.take();
    for (const item of followed) {
      if (item.kind === "event") cursor = item.logged.sequence;
      // Made of every event, since it is to see them all.
      const message = messageOf(agent, item, clock.nowMs());
      yield (await answerOf(agentId, item, inputs)) ?? message;
      silence.broken();
    }
    if (followed.length > 0) continue;
    // More may be recorded, and the last of it, while these are read.
    const isAll = inputs.finished();
    for (const ack of inputs.late(cursor)) {
      yield ackOf(agentId, ack, clock.nowMs());
      silence.broken();
    }
    if (isAll) {
      await inputs.done;
      const row = await engine.get(agentId);
      if (isResting(row.status) && row.sequence <= cursor) return;
    }
    await follower.wait(silence.leftMs());
    if (silence.leftMs() > 0) continue;
    yield heartbeatOf(agentId, cursor, clock.nowMs());
    silence.broken();
  }
}

/** An event may come by before the command that made it knows its place: it is waited for. */
async function answerOf(
  agentId: string,
  item: Followed,
  inputs: Inputs,
): Promise<ServerMessage | null> {
  if (item.kind !== "event" || !("key" in item.logged.event)) return null;
  await inputs.settled();
  const { sequence, atMs } = item.logged;
  const ack = inputs.answerTo(sequence);
  return ack === null ? null : ackOf(agentId, ack, atMs);
}

const messageOf = (
  { agentId, observed }: { readonly agentId: string; readonly observed: Observed },
  item: Followed,
  nowMs: number,
): ServerMessage =>
  item.kind === "event"
    ? serverMessageOf(agentId, item.logged, observed(item.logged))
    : deltaMessageOf(agentId, item, nowMs);

function takeInputs(
  { engine }: StreamParts,
  agentId: string,
  messages: { readonly first: ClientMessage; readonly rest: AsyncIterator<ClientMessage> },
  wake: () => void,
): Inputs {
  /** In the order of the messages. */
  const acks: Ack[] = [];
  let recording: Promise<void> = Promise.resolve();
  let finished = false;
  let taken = (): void => {};
  /** Who does not read its answers is not listened to either. */
  const untilTaken = async (): Promise<void> => {
    while (acks.length > storeLimits.readEventsMax)
      await new Promise<void>((resolve) => (taken = resolve));
  };

  const record = async (message: ClientMessage): Promise<void> => {
    if (message.agentId !== "" && message.agentId !== agentId)
      throw new EngramError(
        "invalid_argument",
        `agent_id is ${message.agentId}, but this stream is attached to ${agentId}: open another`,
      );
    const command = commandOf(message.payload, message.messageId);
    if (command === null) return;
    const { sequence, state, isNew } = await engine.command(agentId, command);
    const status = command.type === "Say" ? "waiting" : statusOf(state);
    acks.push({ sequence, status, isNew });
  };
  const take = async (): Promise<void> => {
    try {
      let message: ClientMessage | null = messages.first;
      while (message !== null) {
        recording = record(message);
        await recording;
        wake();
        await untilTaken();
        const next: IteratorResult<ClientMessage> = await messages.rest.next();
        message = next.done === true ? null : next.value;
      }
    } finally {
      finished = true;
      wake();
    }
  };

  const done = take().catch((error: unknown) => {
    throw failureOf(error);
  });
  // It may fail long before anyone asks: while the client does not read, nobody does.
  done.catch(() => {});
  return {
    done,
    finished: () => finished,
    settled: () => recording.catch(() => {}),
    answerTo: (sequence) => {
      const index = acks.findIndex((ack) => ack.isNew && ack.sequence === sequence);
      const ack = index === -1 ? null : (acks.splice(index, 1)[0] ?? null);
      taken();
      return ack;
    },
    late: (cursor) => {
      const late = acks.filter(({ sequence }) => sequence <= cursor);
      acks.splice(0, acks.length, ...acks.filter(({ sequence }) => sequence > cursor));
      taken();
      return late;
    },
  };
}
