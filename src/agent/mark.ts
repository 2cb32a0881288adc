import type { Event } from "./event.ts";

/**
 * What was asked for under an id of its own, for an agent's life: a repetition finds it, is answered with its event, and
 * is not done twice. Marks follow from the log; a store keeps them beside it, so that a state need not hold them all.
 */
export type Mark = {
  readonly key: string;
  /** The event as which it was first recorded. */
  readonly sequence: number;
  /** Tells a repetition from another use of the same id. */
  readonly digest: string;
};

export type Marks = ReadonlyMap<string, Mark>;

/** The key of what a client sent under a message id. */
export const messageKey = (messageId: string): string => `message ${messageId}`;

/** The key of the decision on a tool call that asked for one; its digest is `decisionDigest`. */
export const decisionKey = (callId: string): string => `decision ${callId}`;

export const decisionDigest = (approve: boolean): string => (approve ? "approved" : "rejected");

/** The marks of events that stand behind event `after`, in order; of one key the first counts. */
export function marksOf(events: readonly Event[], after: number): readonly Mark[] {
  const marks = new Map<string, Mark>();
  const add = (mark: Mark): void => {
    if (!marks.has(mark.key)) marks.set(mark.key, mark);
  };
  for (const [index, event] of events.entries()) {
    const sequence = after + index + 1;
    // A fork's clients are not its parent's: their ids are free again. Decisions belong to the calls, which are copied.
    if (event.type === "AgentForked")
      for (const key of marks.keys()) if (key.startsWith(messageKey(""))) marks.delete(key);
    if ("key" in event && event.key !== null) {
      const { messageId, digest } = event.key;
      add({ key: messageKey(messageId), sequence, digest });
    }
    if (event.type === "ToolConfirmed") {
      const digest = decisionDigest(event.approve);
      add({ key: decisionKey(event.callId), sequence, digest });
    }
  }
  return [...marks.values()];
}
