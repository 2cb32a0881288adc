/** Bounds of the commands that are clients of a running engine. */
export const clientLimits = {
  /** With a call under way, a silent engine is asked for a sign of life this often. */
  pingIntervalMs: 15_000,
  pingTimeoutMs: 10_000,
  /** A call is tried again for so long: an engine starts in less than a second, a machine in less than this. */
  awayMsMax: 60_000,
  retryMsFirst: 100,
  retryMsMax: 2_000,
  /** Columns of a line where nobody has said how wide it may be: in a pipe. */
  columnsInPipe: 200,
  /** The first look back through a log, in events: a reply has at most 32 calls. Each further one is this many times longer. */
  lookBackEvents: 64,
  lookBackFactor: 8,
} as const;
