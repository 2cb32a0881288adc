import type { Event } from "../agent/event.ts";
import { statusOf } from "../agent/state.ts";
import type { Clock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import type { Append, Lease, Store } from "../store/store.ts";
import type { Instruments } from "./instruments.ts";

/**
 * A store that counts what is asked of it and how long that takes; and, since all that happens to agents is an event, what
 * happens to them here. What was not acknowledged is not counted.
 */
export function meterStore(store: Store, instruments: Instruments, clock: Clock): Store {
  const seconds = instruments.storeSeconds;
  const timed =
    <A extends readonly unknown[], R>(
      operation: keyof Store,
      run: (...args: A) => Promise<R>,
    ): ((...args: A) => Promise<R>) =>
    async (...args) => {
      const startMs = clock.monotonicMs();
      let outcome = "ok";
      try {
        return await run(...args);
      } catch (error) {
        outcome = EngramError.of(error).code;
        throw error;
      } finally {
        seconds.observe({ operation, outcome }, (clock.monotonicMs() - startMs) / 1000);
      }
    };
  const { took, created, appended } = makeTellers(instruments);
  const create = timed("create", store.create);
  const append = timed("append", store.append);
  const claim = timed("claim", store.claim);
  return {
    nowMs: store.nowMs,
    create: async (creation) => {
      const answer = await create(creation);
      if (answer.created) created(creation.events.map(({ event }) => event));
      if (answer.lease !== null) took(answer.lease);
      return answer;
    },
    append: async (given) => {
      const lease = await append(given);
      appended(given);
      if (lease !== null) took(lease);
      return lease;
    },
    made: timed("made", store.made),
    stage: timed("stage", store.stage),
    unstage: timed("unstage", store.unstage),
    read: timed("read", store.read),
    readStored: timed("readStored", store.readStored),
    aside: timed("aside", store.aside),
    marks: timed("marks", store.marks),
    snapshot: timed("snapshot", store.snapshot),
    row: timed("row", store.row),
    list: timed("list", store.list),
    tally: timed("tally", store.tally),
    remove: timed("remove", store.remove),
    writeDraft: timed("writeDraft", store.writeDraft),
    readDraft: timed("readDraft", store.readDraft),
    claim: async (wish, nowMs, limit, skip) => {
      const leases = await claim(wish, nowMs, limit, skip);
      for (const lease of leases) took(lease);
      return leases;
    },
    renew: timed("renew", store.renew),
    release: timed("release", store.release),
    nextWakeMs: timed("nextWakeMs", store.nextWakeMs),
    announce: timed("announce", store.announce),
    peers: timed("peers", store.peers),
    follow: store.follow,
    followWakes: store.followWakes,
    probe: timed("probe", store.probe),
    close: store.close,
  };
}

/** What durable events and leases say of the engine's work. */
function makeTellers({
  events,
  turns,
  leases,
  modelRetries,
  toolCallSeconds,
  toolFuel,
}: Instruments) {
  const created = (list: readonly Event[]): void => {
    for (const { type } of list) events.inc({ type });
  };
  const worked = (event: Event): void => {
    if (event.type === "ModelFailed") modelRetries.inc({ code: event.code });
    if (event.type === "TurnFailed") turns.inc({ outcome: event.code });
    if (event.type !== "ToolReturned") return;
    toolCallSeconds.observe({ code: event.error?.code ?? "ok" }, event.durationMs / 1000);
    toolFuel.inc(event.fuelUsed);
  };
  return {
    created,
    appended: ({ events: list, state, epoch }: Append): void => {
      created(list);
      // A command only asks for work.
      if (epoch === null) return;
      for (const event of list) worked(event);
      const status = statusOf(state);
      if (status === "waiting_for_input") turns.inc({ outcome: "answered" });
      if (status === "completed") turns.inc({ outcome: "completed" });
    },
    took: ({ recovered }: Lease): void => leases.inc({ recovered: `${recovered}` }),
  };
}
