const kib = 1024;
const mib = 1024 * kib;

/** Bounds of what a model server may answer. */
export const modelServerLimits = {
  /** One line of a stream: a reply's 32 tool calls may come in one, each character escaped as six. */
  lineBytesMax: 16 * mib,
  /** A whole stream. A line of about 120 bytes carries a token, so this is two million of them. */
  responseBytesMax: 256 * mib,
  errorBytesMax: 64 * kib,
  /** What is passed on of a server's error text. */
  errorCharsMax: 500,
  /** Models of which something is remembered; past it all is forgotten and asked again. */
  modelsRememberedMax: 256,
} as const;
