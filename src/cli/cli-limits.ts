/** Bounds of the process and its commands. */
export const cliLimits = {
  /** For streams to end after SIGTERM: with the rest of the shutdown it stays below the promised 10 s. */
  drainMs: 7_000,
  /** A compiled engine is ready in well under a second; a busy machine may take longer. */
  engineStartMs: 30_000,
  /** Between two tries of a command to reach an engine that has gone. */
  reconnectMs: 500,
  /** Of a line for a reader, where no terminal says how wide it is; and at least. */
  lineCharsMax: 200,
  lineCharsLeast: 80,
  /** Tool calls without a result whose names are kept for it: more than a reply may have. */
  callNamesMax: 64,
} as const;

/** Bounds of the commands that are clients of a running engine. */
export const clientLimits = {
  /** With a call under way, a silent engine is asked for a sign of life this often. */
  pingIntervalMs: 10_000,
  pingTimeoutMs: 5_000,
  /** A call is tried again for so long: an engine starts in less than a second, a machine in less than this. */
  awayMsMax: 60_000,
  retryMsFirst: 100,
  retryMsMax: 2_000,
  /** The first look back through a log, in events: a reply has at most 32 calls. Each further one is this many times longer. */
  lookBackEvents: 64,
  lookBackFactor: 8,
  /** Events of before that a chat begins with: a turn or two. */
  recalledEvents: 20,
  /** An engine that is back sooner is nothing to tell of. */
  untoldAwayMs: 1_000,
  /** Of each call, where several are named in one line. */
  listedCallColumns: 60,
  /** Of a call's input, where somebody is asked whether it may run; beyond it the input is cut, and that is said. */
  askedInputCharsMax: 4_000,
} as const;
