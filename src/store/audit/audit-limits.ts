const mib = 1024 * 1024;

/** Bounds of showing that a store is what was written. */
export const auditLimits = {
  /** A database of more is walked while it is served, so that the start stays below a tenth of a second. */
  atOnceBytesMax: 2 * mib,
  /** Between two lines of a long check's progress, in ms. */
  progressMs: 2_000,
  /** Agents in Redis that are walked at once: so many ways there and back overlap, and a page of each is kept. */
  agentsAtOnce: 16,
  /** Events of a log in Redis that are read first, before it is known how large they are. */
  firstEventsMax: 16,
  /** Looks at an agent in Redis that changes at each. */
  looksMax: 1_000,
  /** By how much an engine's idea of the store's time may be wrong, and more. */
  clockErrorMs: 5_000,
} as const;
