import { isJsonObject } from "../agent/json.ts";
import { EngramError, messageOf, type ErrorCode, type Overflow } from "../errors.ts";
import { turnLimits } from "../limits.ts";
import { modelServerLimits } from "./server-limits.ts";

/** Whom a failure is about. */
export type Subject = {
  /** The server's address without credentials. */
  readonly server: string;
  /** The model asked for. */
  readonly model: string;
};

/** What a server's refusal comes to. */
export type Verdict = {
  readonly code: ErrorCode;
  readonly transient: boolean;
  /** What to do, or what it means. */
  readonly advice: string;
  /** Of context_overflow. */
  readonly overflow?: Overflow;
};

/** A response whose status is not 200. */
export type FailedReply = {
  readonly status: number;
  /** Its beginning. */
  readonly body: string;
  /** undefined: the server asked for no delay. */
  readonly retryAfterMs: number | undefined;
};

export const overloaded: Verdict = {
  code: "model_unavailable",
  transient: true,
  advice: "it is overloaded or starting",
};

/** Of a status that says no more than whose fault it is. */
export const unforeseen = (status: number): Verdict => ({
  code: "model_error",
  transient: status >= 500,
  advice: status >= 500 ? "the server's log says more" : "the request was refused",
});

/** A server's words on one short line. */
export const tidy = (text: string): string =>
  text
    .slice(0, modelServerLimits.errorCharsMax)
    .toWellFormed()
    .replace(/[\p{Cc}\s]+/gu, " ")
    .trim();

/** A text's JSON value; undefined: it is none. */
export const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** The words in an error body, also where the text is JSON once more (the llama.cpp server's body); null: none. */
export const errorText = (value: unknown, depth = 0): string | null => {
  if (typeof value === "string") {
    const inner = value.startsWith("{") && depth < 4 ? parsed(value) : undefined;
    return inner === undefined ? value : (errorText(inner, depth + 1) ?? value);
  }
  if (!isJsonObject(value)) return null;
  const { error, message, type, code } = value;
  if (error !== undefined && error !== null && depth < 4) return errorText(error, depth + 1);
  if (typeof message !== "string") return null;
  const kinds = [...new Set([type, code])].filter((kind) => typeof kind === "string");
  return kinds.length > 0 ? `${message} (${kinds.join(", ")})` : message;
};

/** The failure behind a status, with the `text` of its body; null: there is none that can be read. */
export const failureOfVerdict = (
  { server }: Subject,
  { code, transient, advice, overflow }: Verdict,
  { status, retryAfterMs }: FailedReply,
  text: string | null,
): EngramError => {
  const said = text === null ? `status ${status}` : `status ${status}: ${tidy(text)}`;
  return new EngramError(code, `the model server at ${server} answered ${said} (${advice})`, {
    transient,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(overflow === undefined ? {} : { overflow }),
  });
};

/** The failure behind an error that came in a stream that began well. */
export const failureInReply = (
  { server }: Subject,
  { code, transient, advice, overflow }: Verdict,
  text: string,
): EngramError =>
  new EngramError(
    code,
    `the model server at ${server} gave up in mid-reply: ${tidy(text)} (${advice})`,
    { transient, ...(overflow === undefined ? {} : { overflow }) },
  );

/** The failure of a connection that could not be made; `advice` says how to get it. */
export const failureToReach = ({ server }: Subject, cause: unknown, advice: string): EngramError =>
  new EngramError(
    "model_unavailable",
    `the model server at ${server} cannot be reached (${tidy(messageOf(cause))}): ${advice}`,
    { transient: true, cause },
  );

/** The failure of a connection that broke in mid-reply. */
export const failureOfBreak = ({ server }: Subject, cause: unknown): EngramError =>
  new EngramError(
    "model_error",
    `the connection to the model server at ${server} broke in mid-reply: ${tidy(messageOf(cause))}`,
    { transient: true, cause },
  );

/** Bytes in mid-reply that are not the protocol's: `what` says how. */
export const failureOfBytes = ({ server }: Subject, what: string): EngramError =>
  new EngramError("model_error", `the model server at ${server} sent ${what} in mid-reply`, {
    transient: true,
  });

/** A stream that ended well but unfinished, as they do where the model repeats itself or its runner stops. */
export const failureOfEnd = ({ server, model }: Subject): EngramError =>
  new EngramError(
    "model_error",
    `the model server at ${server} ended the reply of "${model}" before it was done`,
    { transient: true },
  );

/** How long a server asks to be left alone, in ms from `nowMs`: `header` gives its headers. undefined: it does not say. */
export const retryAfterMsOf = (
  header: (name: string) => string,
  nowMs: number,
): number | undefined => {
  const exact = header("retry-after-ms");
  const value = header("retry-after");
  const delayMs = [
    decimal.test(exact) ? Number(exact) : Number.NaN,
    decimal.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs,
  ].find((one) => !Number.isNaN(one));
  return delayMs === undefined
    ? undefined
    : Math.min(Math.max(Math.ceil(delayMs), 0), turnLimits.retryAfterMsMax);
};

const decimal = /^\d{1,12}(?:\.\d{1,9})?$/;
