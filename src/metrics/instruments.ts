import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** In seconds: of what takes a part of one where all is well. */
const quick = [0.001, 0.0025, 0.01, 0.05, 0.25, 1, 5];
/** Of a model, which may take minutes, and of calls that wait for one. */
const slow = [0.01, 0.1, 0.5, 1, 2.5, 10, 30, 120];

/** Everything that is told: its name, its unit, what it means. No label grows with agents, clients, tools or models. */
export type Instruments = { readonly registry: Registry } & ReturnType<typeof ofFleet> &
  ReturnType<typeof ofWork> &
  ReturnType<typeof ofProcess> &
  ReturnType<typeof ofPort>;

export function makeInstruments(): Instruments {
  const registry = new Registry();
  const make = makersIn(registry);
  return { registry, ...ofFleet(make), ...ofWork(make), ...ofProcess(make), ...ofPort(make) };
}

type Makers = ReturnType<typeof makersIn>;

function makersIn(registry: Registry) {
  const registers = [registry];
  return {
    counter: <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
      new Counter<L>({ name, help, labelNames, registers }),
    gauge: <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
      new Gauge<L>({ name, help, labelNames, registers }),
    histogram: <L extends string>(
      name: string,
      { help, buckets }: { readonly help: string; readonly buckets: number[] },
      labelNames: readonly L[],
    ) => new Histogram<L>({ name, help, buckets, labelNames, registers }),
  };
}

/** The same on every engine of a store; absent while the store cannot be read. */
const ofFleet = ({ gauge }: Makers) => ({
  storeUp: gauge("engram_store_up", "1: the store takes writes, as /readyz asks.", []),
  agents: gauge("engram_agents", "Agents in the store, of the whole fleet.", ["status"]),
  agentsDue: gauge(
    "engram_agents_due",
    "The queue: agents that are due with no engine that drives them, of the whole fleet.",
    [],
  ),
  agentsDueSeconds: gauge(
    "engram_agents_due_seconds",
    "How long the longest of them has been due; 0: none is.",
    [],
  ),
});

const ofWork = ({ counter, histogram }: Makers) => ({
  events: counter("engram_events_total", "Events that this engine appended to logs.", ["type"]),
  turns: counter(
    "engram_turns_total",
    "Turns that ended here: answered, completed by a final answer, or failed with a code.",
    ["outcome"],
  ),
  leases: counter(
    "engram_leases_total",
    "Agents that this engine took to drive; recovered: from an engine that had not let go.",
    ["recovered"],
  ),
  modelCallSeconds: histogram(
    "engram_model_call_seconds",
    { help: "Model calls; stopped: by a client, a limit or a shutdown.", buckets: slow },
    ["outcome"],
  ),
  modelFirstTokenSeconds: histogram(
    "engram_model_first_token_seconds",
    { help: "From the start of a model call to the first piece of its answer.", buckets: slow },
    [],
  ),
  modelTokens: counter("engram_model_tokens_total", "Tokens as the model counts them.", ["kind"]),
  modelRetries: counter(
    "engram_model_retries_total",
    "Model faults after which the call is tried again.",
    ["code"],
  ),
  toolCallSeconds: histogram(
    "engram_tool_call_seconds",
    { help: "Tool calls with a recorded result, by its error code or ok.", buckets: slow },
    ["code"],
  ),
  toolFuel: counter("engram_tool_fuel_total", "Fuel that tools have used.", []),
  storeSeconds: histogram(
    "engram_store_operation_seconds",
    {
      help: "Operations of the store as the engine waits for them, by their error code or ok.",
      buckets: quick,
    },
    ["operation", "outcome"],
  ),
});

const ofProcess = ({ counter, gauge }: Makers) => ({
  steps: gauge("engram_steps_running", "Agents that this engine drives just now.", []),
  stepsMax: gauge("engram_steps_max", "How many it has room for (WORKER_CONCURRENCY).", []),
  sandboxChildren: gauge("engram_sandbox_children", "Processes that tools run in.", ["state"]),
  toolCallsWaiting: gauge(
    "engram_tool_calls_waiting",
    "Tool calls that wait for one of those processes.",
    [],
  ),
  loopLag: gauge(
    "engram_event_loop_lag_seconds",
    "By how much the event loop was late since the scrape before; quantile 1 is the worst.",
    ["quantile"],
  ),
  buildInfo: gauge("engram_build_info", "1, with the version that runs.", ["version"]),
  residentBytes: gauge("process_resident_memory_bytes", "Resident memory.", []),
  cpuSeconds: counter("process_cpu_seconds_total", "User and system time.", []),
  startSeconds: gauge("process_start_time_seconds", "Start of the process, since the epoch.", []),
});

const ofPort = ({ counter, gauge, histogram }: Makers) => ({
  connections: gauge("engram_connections", "Open connections.", []),
  rpcsOpen: gauge("engram_rpcs_open", "Calls and streams under way.", ["method"]),
  rpcs: counter("engram_rpcs_total", "Calls that have ended, by code or ok.", ["method", "code"]),
  rpcSeconds: histogram(
    "engram_rpc_seconds",
    { help: "Calls that take and give one message, to their end.", buckets: slow },
    ["method"],
  ),
  refused: counter(
    "engram_requests_refused_total",
    "Requests without a valid API key, and calls for which there was no room.",
    ["reason"],
  ),
});
