import { isJsonObject } from "../agent/json.ts";
import { EngramError, messageOf, type ErrorCode } from "../errors.ts";
import { turnLimits } from "../limits.ts";
import { modelServerLimits } from "./server-limits.ts";

/** Whom a failure is about: the server's address without credentials, and the model asked for. */
export type Subject = { readonly server: string; readonly model: string };

type Verdict = {
  readonly code: ErrorCode;
  readonly transient: boolean;
  /** What to do, or what it means. */
  readonly advice: string;
};

/** Failures told apart by the server's words, wherever they come; statuses are too few for them. */
const verdictsByText: readonly (Verdict & { readonly pattern: RegExp })[] = [
  {
    // Ollama's own text, and the llama.cpp server's, which it passes on.
    pattern: /exceed_context_size|context (?:size|length|window)/i,
    code: "context_overflow",
    transient: false,
    advice: "set the agent's max_context_tokens below the model's context, or raise num_ctx",
  },
  {
    pattern: /does not support tools/i,
    code: "model_error",
    transient: false,
    advice: "create the agent with config.no_tools, or choose another model",
  },
  {
    pattern: /does not support/i,
    code: "model_error",
    transient: false,
    advice: "choose another model",
  },
  {
    pattern: /^option "|invalid option|invalid format/i,
    code: "model_error",
    transient: false,
    advice: "check LLM_OPTIONS",
  },
  {
    pattern: /error parsing tool call/i,
    code: "model_error",
    transient: true,
    advice: "the model wrote a broken tool call",
  },
];

const overloaded: Verdict = {
  code: "model_unavailable",
  transient: true,
  advice: "it is overloaded or starting",
};

const verdictsByStatus: ReadonlyMap<number, Verdict> = new Map([
  [401, { code: "model_error", transient: false, advice: "sign in with: ollama signin" }],
  [
    403,
    {
      code: "model_error",
      transient: false,
      advice: "the server refuses this host or model: check OLLAMA_URL and the server's settings",
    },
  ],
  ...[408, 425, 429, 499, 502, 503, 504].map((status) => [status, overloaded] as const),
]);

const verdictOf = (status: number, text: string): Verdict =>
  verdictsByText.find(({ pattern }) => pattern.test(text)) ??
  verdictsByStatus.get(status) ?? {
    code: "model_error",
    transient: status >= 500,
    advice: status >= 500 ? "the server's log says more" : "the request was refused",
  };

const tidy = (text: string): string =>
  text
    .slice(0, modelServerLimits.errorCharsMax)
    .replace(/[\p{Cc}\s]+/gu, " ")
    .trim();

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** The words in an error body, also where the text is JSON once more (the llama.cpp server's body); null: none. */
const errorText = (value: unknown, depth = 0): string | null => {
  if (typeof value === "string") {
    const inner = value.startsWith("{") && depth < 4 ? parsed(value) : undefined;
    return inner === undefined ? value : (errorText(inner, depth + 1) ?? value);
  }
  if (!isJsonObject(value)) return null;
  const { error, message, type } = value;
  if (error !== undefined && depth < 4) return errorText(error, depth + 1);
  if (typeof message !== "string") return null;
  return typeof type === "string" ? `${message} (${type})` : message;
};

/** The failure behind an HTTP status other than 200. 404 is model_not_found where an Ollama server says it. */
export const failureOfStatus = (
  { server, model }: Subject,
  reply: {
    readonly status: number;
    readonly body: string;
    /** undefined: the server asked for no delay. */
    readonly retryAfterMs: number | undefined;
  },
): EngramError => {
  const { status, body, retryAfterMs } = reply;
  const text = errorText(parsed(body));
  if (status === 404 && text !== null)
    return new EngramError(
      "model_not_found",
      `the model server at ${server} has no model "${model}": get it with: ollama pull ${model}`,
    );
  if (text === null && body !== "" && status < 500 && !verdictsByStatus.has(status))
    return notOllama(server, `status ${status}: ${tidy(body)}`);
  const verdict = verdictOf(status, text ?? "");
  const said = text === null ? `status ${status}` : `status ${status}: ${tidy(text)}`;
  return new EngramError(
    verdict.code,
    `the model server at ${server} answered ${said} (${verdict.advice})`,
    {
      transient: verdict.transient,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    },
  );
};

/** The failure behind an error line in a stream that began well. */
export const failureOfLine = ({ server }: Subject, error: unknown): EngramError => {
  const text = errorText(error) ?? JSON.stringify(error) ?? "";
  const { code, transient, advice } = verdictOf(500, text);
  return new EngramError(
    code,
    `the model server at ${server} gave up in mid-reply: ${tidy(text)} (${advice})`,
    { transient },
  );
};

/** The failure of a connection that could not be made, or (`begun`) broke in mid-reply. */
export const failureOfConnection = (
  { server }: Subject,
  begun: boolean,
  cause: unknown,
): EngramError =>
  begun
    ? new EngramError(
        "model_error",
        `the connection to the model server at ${server} broke in mid-reply: ${tidy(messageOf(cause))}`,
        { transient: true, cause },
      )
    : new EngramError(
        "model_unavailable",
        `the model server at ${server} cannot be reached (${tidy(messageOf(cause))}): start it with ` +
          "`ollama serve`, or set OLLAMA_URL to where it runs",
        { transient: true, cause },
      );

/** Bytes that are not the protocol's: `what` says how. A repetition helps only where the stream began well. */
export const failureOfBytes = ({ server }: Subject, what: string, begun: boolean): EngramError =>
  begun
    ? new EngramError("model_error", `the model server at ${server} sent ${what} in mid-reply`, {
        transient: true,
      })
    : notOllama(server, what);

/** A stream that ended well but unfinished, as Ollama's do where the model repeats itself or its runner stops. */
export const failureOfEnd = ({ server, model }: Subject): EngramError =>
  new EngramError(
    "model_error",
    `the model server at ${server} ended the reply of "${model}" before it was done`,
    { transient: true },
  );

const notOllama = (server: string, what: string): EngramError =>
  new EngramError(
    "model_error",
    `the server at ${server} does not answer as Ollama does (${what}): check OLLAMA_URL`,
  );

/** A Retry-After header's value in ms from `nowMs`: seconds or a date. undefined: absent or unreadable. */
export const retryAfterMsOf = (value: string, nowMs: number): number | undefined => {
  const delayMs = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  if (Number.isNaN(delayMs)) return undefined;
  return Math.min(Math.max(delayMs, 0), turnLimits.retryAfterMsMax);
};
