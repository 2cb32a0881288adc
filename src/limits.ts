/** Every bound of the engine, with its unit and its reason. Settings may lower some; nothing is unbounded. */

const kib = 1024;
const mib = 1024 * kib;

/** Bounds of what a client may send; past one the call is refused and nothing is recorded. */
export const requestLimits = {
  /** One message on the wire: what most gRPC servers take; larger files belong in a tool. */
  messageBytesMax: 4 * mib,
  goalBytesMax: 256 * kib,
  systemPromptBytesMax: 256 * kib,
  modelNameBytesMax: 512,
  metadataEntriesMax: 64,
  metadataKeyBytesMax: 256,
  metadataValueBytesMax: 4 * kib,
  toolsMax: 128,
  /** An id is an index key. */
  idBytesMax: 256,
  attachmentsMax: 16,
  reasonBytesMax: 4 * kib,
  pageSizeDefault: 50,
  pageSizeMax: 1000,
  sendMessageTimeoutMsDefault: 60_000,
  sendMessageTimeoutMsMax: 24 * 3600_000,
} as const;

/** Bounds of one turn and its model calls. */
export const turnLimits = {
  stepsDefault: 32,
  /** Transient model faults in a row before the turn fails. */
  attemptsMax: 5,
  retryDelayMsFirst: 500,
  retryDelayMsMax: 30_000,
  /** A server may ask for hours (Retry-After); more than a day is a mistake. */
  retryAfterMsMax: 24 * 3600_000,
  /** Claims of an agent without an append in between: its step kills the engine. */
  claimsWithoutAppendMax: 3,
  /** Text or thinking of one reply; a model that writes more is looping. */
  replyCharsMax: 8 * mib,
  toolCallsPerReplyMax: 32,
  toolInputCharsMax: mib,
} as const;

/** Ceilings of a tool call's limits; a client, a tool or a setting that asks for more gets these. */
export const toolCeilings = {
  /** About 400 s of the slowest code measured; the time limit comes first. */
  fuel: 100_000_000_000,
  memoryBytes: 1024 * mib,
  timeoutMs: 600_000,
  outputBytesMax: 4 * mib,
} as const;
