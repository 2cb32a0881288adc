import { statusOf } from "../agent/state.ts";
import { type Clock, timerMsMax } from "../clock.ts";
import { EngramError } from "../errors.ts";
import type { Store } from "../store/store.ts";
import type { Agents } from "./agents.ts";

/** Why an action under way was stopped; a step's own control flow, never shown to a client. */
export class Interrupt extends Error {
  override readonly name = "Interrupt";
  readonly reason: "stopped" | "outOfTime" | "handOver" | "fenced" | "elsewhere";

  constructor(reason: Interrupt["reason"]) {
    super(`interrupted: ${reason}`);
    this.reason = reason;
  }
}

/**
 * Runs `work` until it ends, `outer` aborts, the turn's time is over, or a client's pause, cancel or delete takes the
 * agent away from it. Then its signal aborts with an Interrupt (or the outer reason).
 */
export async function interruptible<T>(
  parts: { readonly store: Store; readonly clock: Clock; readonly agents: Agents },
  on: { readonly agentId: string; readonly leftMs: number | null; readonly outer: AbortSignal },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const check = async (): Promise<void> => {
    try {
      const state = await parts.agents.load(on.agentId);
      if (statusOf(state) !== "waiting_for_step") controller.abort(new Interrupt("stopped"));
    } catch (error) {
      // Only a deletion is a reason to stop; a store that is away is found out by the next write.
      if (EngramError.of(error).code === "not_found") controller.abort(new Interrupt("stopped"));
    }
  };
  const unfollow = parts.store.follow(on.agentId, () => void check());
  const disarm = afterTime(parts.clock, on.leftMs, () =>
    controller.abort(new Interrupt("outOfTime")),
  );
  try {
    const signal = AbortSignal.any([on.outer, controller.signal]);
    signal.throwIfAborted();
    // What was recorded before the first hint was listened for.
    void check();
    return await work(signal);
  } finally {
    unfollow();
    disarm();
  }
}

/** Calls `fn` after a time, however long; null: never. */
function afterTime(clock: Clock, delayMs: number | null, fn: () => void): () => void {
  if (delayMs === null) return () => {};
  const endMs = clock.monotonicMs() + delayMs;
  let cancel = (): void => {};
  const arm = (): void => {
    const leftMs = endMs - clock.monotonicMs();
    cancel = clock.after(Math.min(leftMs, timerMsMax), leftMs > timerMsMax ? arm : fn);
  };
  arm();
  return () => cancel();
}
