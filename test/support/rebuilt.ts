import { makeCallFinder, requestOfSending, sendingsOf } from "../../src/agent/calls.ts";
import type { LoggedEvent } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import type { ModelRequest } from "../../src/agent/request.ts";
import { textOf } from "../../src/engine/think.ts";
import type { Draft } from "../../src/store/store.ts";

/** All that the model was sent, as a log and the draft behind it tell; null: what it was is not kept. */
export function rebuilt(
  log: readonly LoggedEvent[],
  draft: Draft | null = null,
): readonly (ModelRequest | null)[] {
  const finder = makeCallFinder();
  const begun = draft === null ? null : { call: draft.call, text: textOf(draft, "text") };
  const past = log.flatMap((logged) => finder.take(logged) ?? []);
  return [...past, ...finder.end(begun)].flatMap(sendingsOf).map((sending) => {
    const { partial, headSequence } = sending;
    return partial === null
      ? null
      : requestOfSending(fold(log.slice(0, headSequence)), sending, partial);
  });
}

/**
 * How many of the requests that a model received are not among those rebuilt; null: of what was rebuilt something was
 * never received, or not in that order.
 */
export function missed(
  received: readonly ModelRequest[],
  told: readonly (ModelRequest | null)[],
): number | null {
  let next = 0;
  for (const request of received) {
    const wanted = told[next];
    if (wanted === null || (wanted !== undefined && Bun.deepEquals(request, wanted))) next++;
  }
  return next === told.length ? received.length - next : null;
}
