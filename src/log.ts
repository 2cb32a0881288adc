export type LogLevel = "debug" | "info" | "warn" | "error";

/** Takes one line for the operator. Fields hold no key, no secret and no content of a conversation. */
export type Log = (
  level: LogLevel,
  message: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;
