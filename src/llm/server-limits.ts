const kib = 1024;
const mib = 1024 * kib;

/** Bounds of what a model server may answer. */
export const modelServerLimits = {
  /** One line of a stream: a reply's 32 tool calls may come in one, each character escaped as six. */
  lineBytesMax: 16 * mib,
  /** A whole stream. A line of about 120 bytes carries a token, so this is two million of them. */
  responseBytesMax: 256 * mib,
  /** Objects and lists in one another in a tool's input: what is well below it is judged as any input is. */
  inputLevelsMax: 2_000,
  /** A server may say for so many silences that it is at work: queues are long, but what is dead behind a proxy stays so. */
  silencesMax: 10,
  errorBytesMax: 64 * kib,
  /** What is passed on of a server's error text. */
  errorCharsMax: 500,
  /** What a model can do its server knows by heart: it answers in milliseconds, and a turn waits for it. */
  abilitiesTimeoutMs: 5_000,
  /** Models are pulled anew seldom, and what has changed meanwhile shows in what is refused. */
  abilitiesKeptMs: 10 * 60_000,
  /** What a server refused its operator may have mended since; to try costs an agent one refused call. */
  refusalsKeptMs: 60 * 60_000,
  /** Where the server was silent or does not know the question: each turn would wait for it, and tell of it, again. */
  unknownKeptMs: 60_000,
  /** Models of which something is remembered; past it all is forgotten and asked again. */
  modelsRememberedMax: 256,
  /** The longest lists known have a thousand models with a page of text each. */
  listBytesMax: 8 * mib,
} as const;
