import type { Clock } from "../clock.ts";
import { metricsLimits } from "../limits.ts";
import type { Model } from "../llm/model.ts";
import type { Store, Tally } from "../store/store.ts";
import { type Instruments, makeInstruments } from "./instruments.ts";
import { makeLoopLag } from "./loop-lag.ts";
import { meterModel } from "./metered-model.ts";
import { meterStore } from "./metered-store.ts";

/** What is counted in this process, and how it is asked for. */
export type Metrics = {
  /** The same store, counted. */
  store(store: Store): Store;
  model(model: Model): Model;
  /** What the port tells of itself. */
  readonly port: ReturnType<typeof watchPort>;
  /** All of it as Prometheus text. `store` is asked for the fleet's numbers; scrapes that come together share one answer. */
  scrape(store: Store, now: () => Present): Promise<string>;
};

/** What this engine is doing at the moment. */
export type Present = {
  readonly steps: { readonly running: number; readonly max: number };
  readonly tools: { readonly busy: number; readonly idle: number; readonly waiting: number };
};

export function makeMetrics(version: string, clock: Clock): Metrics {
  const instruments = makeInstruments();
  const lag = makeLoopLag(clock);
  beginAtZero(instruments);
  instruments.buildInfo.set({ version }, 1);
  instruments.startSeconds.set(performance.timeOrigin / 1000);
  let asking: Promise<Found> | null = null;
  let writing: Promise<string> | null = null;

  /** A store that does not answer is asked once, however often this is. */
  const ask = (store: Store): Promise<Found> =>
    (asking ??= look(store).finally(() => (asking = null)));
  const write = async (store: Store, now: () => Present): Promise<string> => {
    showFleet(instruments, await within(clock, ask(store)), store.nowMs());
    showPresent(instruments, now());
    showProcess(instruments);
    const late = lag.take();
    if (late !== null) {
      instruments.loopLag.set({ quantile: "0.99" }, late.p99Ms / 1000);
      instruments.loopLag.set({ quantile: "1" }, late.maxMs / 1000);
    }
    return instruments.registry.metrics();
  };
  return {
    store: (store) => meterStore(store, instruments, clock),
    model: (model) => meterModel(model, instruments, clock),
    port: watchPort(instruments, clock),
    scrape: (store, now) => (writing ??= write(store, now).finally(() => (writing = null))),
  };
}

/** A counter that appears with its first increment hides that from a rate. */
function beginAtZero({ turns, leases, modelTokens, refused }: Instruments): void {
  for (const outcome of ["answered", "completed"]) turns.inc({ outcome }, 0);
  for (const recovered of ["true", "false"]) leases.inc({ recovered }, 0);
  for (const kind of ["prompt", "completion"]) modelTokens.inc({ kind }, 0);
  for (const reason of ["key", "room"]) refused.inc({ reason }, 0);
}

function watchPort(
  { connections, rpcsOpen, rpcs, rpcSeconds, refused }: Instruments,
  clock: Clock,
) {
  return {
    connected: (): void => connections.inc(),
    disconnected: (): void => connections.dec(),
    refused: (reason: string): void => refused.inc({ reason }),
    began: (method: string, kind: string): ((code: string) => void) => {
      const startMs = clock.monotonicMs();
      rpcsOpen.inc({ method });
      return (code) => {
        rpcsOpen.dec({ method });
        rpcs.inc({ method, code });
        // A stream lasts as long as its client likes.
        if (kind === "unary")
          rpcSeconds.observe({ method }, (clock.monotonicMs() - startMs) / 1000);
      };
    },
  };
}

/** What a scrape finds out of the store. */
type Found = { readonly isUp: boolean; readonly tally: Tally | null };

/** A store whose disk is full can be read still. */
async function look(store: Store): Promise<Found> {
  const [tally, probed] = await Promise.allSettled([store.tally(store.nowMs()), store.probe()]);
  return {
    isUp: probed.status === "fulfilled",
    tally: tally.status === "fulfilled" ? tally.value : null,
  };
}

/** What is not known now is left out: an old number would be taken for a new one. */
function showFleet(
  { storeUp, agents, agentsDue, agentsDueSeconds }: Instruments,
  { isUp, tally }: Found,
  nowMs: number,
): void {
  storeUp.set(isUp ? 1 : 0);
  agents.reset();
  agentsDue.remove();
  agentsDueSeconds.remove();
  if (tally === null) return;
  for (const [status, count] of Object.entries(tally.agents)) agents.set({ status }, count);
  agentsDue.set(tally.due);
  const { dueSinceMs } = tally;
  agentsDueSeconds.set(dueSinceMs === null ? 0 : Math.max(0, nowMs - dueSinceMs) / 1000);
}

function showPresent(instruments: Instruments, { steps, tools }: Present): void {
  instruments.steps.set(steps.running);
  instruments.stepsMax.set(steps.max);
  instruments.sandboxChildren.set({ state: "busy" }, tools.busy);
  instruments.sandboxChildren.set({ state: "idle" }, tools.idle);
  instruments.toolCallsWaiting.set(tools.waiting);
}

function showProcess({ residentBytes, cpuSeconds }: Instruments): void {
  const { user, system } = process.cpuUsage();
  residentBytes.set(process.memoryUsage.rss());
  cpuSeconds.reset();
  cpuSeconds.inc((user + system) / 1e6);
}

/** Nothing, where the store does not answer in time. */
const within = (clock: Clock, found: Promise<Found>): Promise<Found> =>
  new Promise((resolve) => {
    const cancel = clock.after(metricsLimits.storeMs, () => resolve({ isUp: false, tally: null }));
    void found.then(resolve).finally(cancel);
  });
