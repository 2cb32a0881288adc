import { OpenAI } from "openai";
import { timerMsMax } from "../../clock.ts";
import { EngramError } from "../../errors.ts";
import type { Subject } from "../failure.ts";
import { checkedEvents } from "./events.ts";
import { cleanerOf, failureOfError, failureOfStatus, refusalsIn, type Refusal } from "./failure.ts";
import {
  addressOf,
  fetchOver,
  serverUrl,
  type Protocol,
  type ServerSettings,
} from "../transport.ts";
import { startWatch } from "../watch.ts";

export type OpenAiServer = ServerSettings & {
  /** Sent to `url` and nowhere else; null: the server wants none. */
  readonly apiKey: string | null;
};

/** The requests of one call, which end together. */
export type Exchange = {
  readonly subject: Subject;
  readonly client: OpenAI;
  /** What the newest request was refused for, as far as its words tell. */
  readonly refused: () => readonly Refusal[];
  /** The reply has grown: a server that only says that it is at work is not waited for without end. */
  readonly grew: () => void;
  /** What to throw for an error of the client's: an EngramError, or the reason of the abort behind it. */
  readonly failureOf: (error: unknown) => unknown;
  /** Ends what is still running, at the server too. */
  readonly close: () => void;
};

/** The configured address of a server. A scheme must be said, as it says whether the key may be read on its way. Fails with invalid_argument. */
export const baseUrl = (url: string): URL => {
  if (!url.includes("://"))
    throw new EngramError("invalid_argument", "LLM_BASE_URL must begin with https:// or http://");
  return serverUrl(url, "LLM_BASE_URL");
};

/** What is sent to the server; all else that the package would tell of itself and of the environment is left out. */
export const headersFor = (
  apiKey: string | null,
  body: boolean,
): Readonly<Record<string, string>> => ({
  accept: body ? "text/event-stream, application/json" : "application/json",
  "user-agent": "engram",
  ...(body && { "content-type": "application/json" }),
  ...(apiKey !== null && { authorization: `Bearer ${apiKey}` }),
});

const silent = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };

/** The package without its retries, its time limit, its log, and what it would take from the environment. */
const clientOver = (
  url: URL,
  fetch: NonNullable<ConstructorParameters<typeof OpenAI>[0]>["fetch"],
): OpenAI => {
  const { searchParams } = url;
  const bare = new URL(url);
  bare.search = "";
  bare.hash = "";
  return new OpenAI({
    baseURL: bare.href,
    defaultQuery: Object.fromEntries(searchParams),
    // It wants one; the transport sends the right one.
    apiKey: "unused",
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    maxRetries: 0,
    // The watch is what ends a call.
    timeout: timerMsMax,
    logger: silent,
    logLevel: "off",
    fetch,
  });
};

/**
 * The openai package over a transport that turns every fault into its EngramError before the package sees it. `whole`
 * makes the body that is sent of the package's. Close it when the call is over.
 */
export const openExchange = (
  { url, timeoutMs, clock, apiKey }: OpenAiServer,
  model: string,
  signal: AbortSignal,
  whole: Protocol["whole"],
): Exchange => {
  const address = baseUrl(url);
  const subject: Subject = { server: addressOf(address), model };
  const watch = startWatch(clock, timeoutMs, subject.server, signal);
  const clean = cleanerOf(apiKey);
  let refused: readonly Refusal[] = [];
  const failureOf = (error: unknown): EngramError => failureOfError(subject, error, clean);
  const protocol: Protocol = {
    subject,
    unreachable: "start it, or set LLM_BASE_URL to where it runs",
    headers: () => headersFor(apiKey, true),
    checked: (reply, chunks) => checkedEvents(reply, chunks, { subject, failureOf }),
    whole,
    failureOfStatus: (reply) => {
      refused = refusalsIn(reply);
      return failureOfStatus(subject, reply, clean);
    },
  };
  return {
    subject,
    client: clientOver(address, fetchOver(watch, protocol, clock)),
    refused: () => refused,
    grew: watch.grew,
    failureOf: (error) => {
      if (watch.signal.aborted) return watch.signal.reason;
      // The package wraps what its transport throws.
      for (let at = error; at instanceof Error; at = at.cause)
        if (at instanceof EngramError) return at;
      return error;
    },
    close: watch.end,
  };
};
