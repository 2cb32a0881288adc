/** Bounds of final answers, and of calls that are made again and again. */
export const answerLimits = {
  /** Wrong final answers that the model is told of; the next one fails the turn. */
  toldMax: 3,
  /** To hold an answer against its schema, from when that begins: a schema can hold a hostile pattern. */
  checkMs: 2_000,
  /** Replies in a row that may ask for the same call with the same input. */
  sameCallsMax: 3,
  /** Longer inputs are compared as they are written: to put the keys of one in order takes 5 ms, and a reply may have 32. */
  comparedCharsMax: 16 * 1024,
  /** What a value adds to its JSON where a client is sent it: a Struct's tags, lengths and eight bytes a number. */
  bytesPerValue: 12,
} as const;
