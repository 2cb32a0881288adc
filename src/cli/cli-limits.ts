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
