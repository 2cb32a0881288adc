/** Bounds of `engram torture`. */
export const tortureLimits = {
  minutesMax: 24 * 60,
  /** A client takes about 1 MiB and an agent under way a few. */
  agentsMax: 1_000,
  killsMax: 1_000_000,
  /** For which a paused agent is looked at, unless its engine ends before. */
  pausedMs: 3_000,
  /** Between a call that met no engine and the next, unless another engine is there before. */
  retryMs: 25,
  /** A unary call is answered in milliseconds; a busy machine may take longer. */
  callMs: 60_000,
  /** Within this of a start every agent under way must be going again, where nothing is killed meanwhile. */
  goingMs: 20_000,
  /** Within this of the last kill every agent must have come to rest: the longest story takes some seconds. */
  restMs: 120_000,
  /** The promised time from SIGTERM to the end of the process. */
  stopMs: 10_000,
  progressMs: 10_000,
  /** Violations that are printed; all are counted. */
  shownViolations: 10,
  /** Lines of a client's newest messages that are kept to explain a violation. */
  traceLines: 60,
} as const;

/** Bounds of `engram torture` of several engines on one Redis. */
export const fleetLimits = {
  /** Each is a process of its own with tools of its own. */
  enginesMax: 16,
  leaseTtlMs: 2_000,
  heartbeatMs: 1_000,
  /** A client goes to another engine where its own kept silent for some heartbeats. */
  silenceMs: 3_500,
  /** As `retryMs` of one engine, but while Redis is away every engine answers at once. */
  retryMs: 100,
  /** Promised from the end of a dead engine's lease to its agents' next events. */
  takeoverMs: 1_000,
  /** Over what is promised, for a machine whose processors the engines, Redis and all clients share. */
  marginMs: 2_000,
  /** Loading the agents of some hours takes seconds. */
  redisStartMs: 60_000,
  /** Of Redis to the torture itself. */
  answerMs: 5_000,
  /** After this from the end of what was wrong with Redis every agent under way must be going again. */
  goingMs: 10_000,
  /** Between two looks whether nobody is due any more, or whether a Cluster is whole. */
  lookMs: 100,
  /** Steps at once of the one engine that has room for few, so that its clients see the work of others. */
  roomFew: 2,
  /** Calls under way at once while everything is compared at the end. */
  comparedAtOnce: 16,
} as const;

/** Bounds of a Redis Cluster under torture. */
export const clusterLimits = {
  /** Silence after which a master is replaced; less, and a busy machine replaces masters by itself. */
  nodeTimeoutMs: 1_500,
  /** For which a server at most is away beyond that. */
  awayMsMax: 1_500,
  /** Electing a master and copying some minutes' agents to a replica take seconds. */
  wholeMs: 60_000,
  /** That go along before and behind one that is used: a server syncs its disk for each. */
  emptySlots: 8,
  /** Few, so that a slot is on its way for some time. */
  keysAtOnce: 4,
  /** Before each of these moves. */
  moveMsMax: 20,
  migrateMs: 5_000,
} as const;
