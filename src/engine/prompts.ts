import { setImmediate as nextTurnOfTheLoop } from "node:timers/promises";
import {
  makeCallFinder,
  type PastCall,
  requestOfSending,
  type Sending,
  sendingsOf,
} from "../agent/calls.ts";
import { EngramError } from "../errors.ts";
import type { Agents } from "./agents.ts";
import { wholeDraft } from "./call-model.ts";
import type { Parts } from "./parts.ts";
import { textOf } from "./think.ts";

/** What a model was sent once. */
export type SentPrompt = {
  readonly place: Place;
  /** The body of the request, to the byte. */
  readonly body: string;
};

/** Which of an agent's sendings it is, from 1 on, and of how many so far. */
export type Place = { readonly sending: Sending; readonly number: number; readonly total: number };

/**
 * What the model was sent by the agent's `number`-th sending (null: the latest). The log is read page by page. Fails with
 * not_found where there is no such sending, and with failed_precondition where what it was is not kept.
 */
export async function sentPrompt(
  parts: Parts & { readonly agents: Agents },
  agentId: string,
  number: number | null,
): Promise<SentPrompt> {
  const place = await find(parts, agentId, number);
  const { sending } = place;
  if (sending.partial === null)
    throw new EngramError(
      "failed_precondition",
      `call ${place.number} of agent ${agentId} went on with the first ${sending.continuedLength} characters of an answer that this log does not have: it was copied in the middle of it, or is an old one`,
    );
  const state = await parts.agents.at(agentId, sending.headSequence);
  const request = requestOfSending(state, sending, sending.partial);
  return { place, body: parts.model.bodyOf(request) };
}

async function find(parts: Parts, agentId: string, number: number | null): Promise<Place> {
  let total = 0;
  let found: Omit<Place, "total"> | null = null;
  for await (const past of pastCalls(parts, agentId))
    for (const sending of sendingsOf(past))
      if (++total === (number ?? total)) found = { sending, number: total };
  if (found !== null) return { ...found, total };
  throw new EngramError(
    "not_found",
    total === 0
      ? `agent ${agentId} has not called its model yet`
      : `the model calls of agent ${agentId} go from 1 to ${total}: there is no call ${number ?? 0}`,
  );
}

async function* pastCalls(parts: Parts, agentId: string): AsyncGenerator<PastCall> {
  // Read before the log: an answer that is whole by then is found there.
  const draft = await wholeDraft(parts, agentId);
  const finder = makeCallFinder();
  for (let after = 0; ;) {
    const page = await parts.store.read(agentId, after);
    for (const logged of page) {
      const past = finder.take(logged);
      if (past !== null) yield past;
      after = logged.sequence;
    }
    if (page.length === 0) break;
    await nextTurnOfTheLoop();
  }
  yield* finder.end(draft === null ? null : { call: draft.call, text: textOf(draft, "text") });
}
