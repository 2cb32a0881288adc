import { create } from "@bufbuild/protobuf";
import {
  type ClientMessage,
  ClientMessageSchema,
  type ServerMessage,
} from "../../gen/engram/api/v1/agent_pb.ts";
import { makeMessageQueue } from "../message-queue.ts";
import type { Outgoing, Subject } from "./subject.ts";

/** The client's side of one stream. */
export type Exchange = {
  readonly messages: AsyncIterable<ClientMessage>;
  /** Sends what is due, one message after the other's acknowledgement; `isSilent`: nothing else is going to come. */
  sendDue(isSilent: boolean): void;
  /** True where it answers a message of this stream. */
  acknowledge(sequence: number, message: ServerMessage): boolean;
  /** The stream ended well: all that was sent on it was accepted. */
  end(): void;
  close(): void;
};

/** Attaches to an agent behind what is known of it; the messages go out that were not acknowledged yet. */
export function openExchange(
  subject: Subject,
  outgoing: readonly Outgoing[],
  where: string,
): Exchange {
  const { agentId } = subject;
  const queue = makeMessageQueue();
  const waiting = outgoing.filter(({ sent }) => sent.ackedAt === null);
  const unanswered: Outgoing[] = [];
  // Behind no event a stream would begin with what comes next.
  const after = Math.max(1, subject.witness.sequence);
  subject.attach(after, where);
  queue.push(create(ClientMessageSchema, { agentId, resumeFromSequence: BigInt(after) }));

  const sendDue = (isSilent: boolean): void => {
    for (;;) {
      const [first] = waiting;
      if (first === undefined) return queue.close();
      if (!isSilent && !first.isDue(subject)) return;
      if (unanswered.length > 0 && !first.isHasty) return;
      waiting.shift();
      unanswered.push(first);
      const { messageId, payload } = first;
      subject.note(`sends ${messageId}`);
      queue.push(create(ClientMessageSchema, { agentId, messageId, payload }));
    }
  };
  sendDue(false);
  return {
    messages: queue.read(),
    sendDue,
    acknowledge: (sequence, { payload }) => {
      const [acknowledged] = unanswered;
      if (acknowledged === undefined) return false;
      // The event of a cancellation that a fork begins with looks like an acknowledgement.
      const isCanceled = payload.case === "status" && payload.value.status === "canceled";
      if (isCanceled !== (acknowledged.sent.word === "canceled")) return false;
      unanswered.shift();
      // Which of several that were under way at once it answers is not said.
      const isSure = unanswered.length === 0 && !acknowledged.isHasty;
      acknowledged.sent.ackedAt = isSure ? sequence : 0;
      return true;
    },
    end: () => {
      for (const { messageId } of unanswered)
        subject.report("no acknowledgement", `the stream ended well without one of ${messageId}`);
      for (const { sent } of unanswered) sent.ackedAt ??= 0;
      if (waiting.length > 0)
        subject.report("early end", "the stream ended well before the client had half-closed");
      for (const { messageId } of waiting) subject.note(`never sent ${messageId}`);
    },
    close: queue.close,
  };
}
