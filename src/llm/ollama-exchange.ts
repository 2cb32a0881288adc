import { Ollama } from "ollama";
import type { Clock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import { send, type HttpReply } from "./http.ts";
import {
  failureOfConnection,
  failureOfEnd,
  failureOfStatus,
  retryAfterMsOf,
  type Subject,
} from "./ollama-failure.ts";
import { checkedLines } from "./ollama-lines.ts";
import { startWatch, type Watch } from "./watch.ts";
import { modelServerLimits } from "./server-limits.ts";

/** The requests of one call, which end together. */
export type Exchange = {
  readonly subject: Subject;
  readonly client: Ollama;
  /** What to throw for an error of the client's: an EngramError, or the reason of the abort behind it. */
  readonly failureOf: (error: unknown) => unknown;
  /** Ends what is still running, at the server too. */
  readonly close: () => void;
};

export type ExchangeSettings = {
  readonly url: string;
  /** Silence after which the exchange fails as model_timeout. */
  readonly timeoutMs: number;
  readonly clock: Clock;
};

const streamOf = (lines: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> =>
  new ReadableStream(
    {
      pull: async (controller) => {
        const next = await lines.next();
        if (next.done === true) controller.close();
        else controller.enqueue(next.value);
      },
    },
    // Nothing is read ahead of the reader.
    { highWaterMark: 0 },
  );

/** The URL without what may be secret in it. */
const addressOf = (url: URL): string =>
  `${url.protocol}//${url.host}${url.pathname}`.replace(/\/$/, "");

/** The configured address as a URL; one without a scheme is http. Fails with invalid_argument. */
export const serverUrl = (url: string): URL => {
  const whole = url.includes("://") ? url : `http://${url}`;
  const parsed = URL.canParse(whole) ? new URL(whole) : null;
  if (parsed === null || !["http:", "https:"].includes(parsed.protocol))
    throw new EngramError("invalid_argument", "OLLAMA_URL must be an http or https address");
  return parsed;
};

async function* bytesOf(
  reply: HttpReply,
  watch: Watch,
  subject: Subject,
): AsyncGenerator<Uint8Array> {
  const chunks = reply.body[Symbol.asyncIterator]();
  for (;;) {
    const next = await watch.heard(chunks.next()).catch((error: unknown) => {
      watch.signal.throwIfAborted();
      throw failureOfConnection(subject, true, error);
    });
    if (next.done === true) return;
    yield next.value;
  }
}

/** The head of a body that is known to be an error's. */
const errorBody = async (chunks: AsyncIterable<Uint8Array>): Promise<string> => {
  let body = Buffer.alloc(0);
  for await (const bytes of chunks) {
    body = Buffer.concat([body, bytes]);
    if (body.length > modelServerLimits.errorBytesMax) break;
  }
  return body.toString();
};

type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

const fetchOver =
  (watch: Watch, subject: Subject, clock: Clock): Fetch =>
  async (input, init) => {
    const request = {
      method: init?.method ?? "GET",
      headers: Object.fromEntries(new Headers(init?.headers)),
      body: typeof init?.body === "string" ? init.body : "",
    };
    const url = new URL(input instanceof Request ? input.url : input);
    const reply = await watch.heard(send(url, request, watch.signal)).catch((error: unknown) => {
      watch.signal.throwIfAborted();
      throw failureOfConnection(subject, false, error);
    });
    const chunks = bytesOf(reply, watch, subject);
    if (reply.status === 200) return new Response(streamOf(checkedLines(chunks, subject)));
    throw failureOfStatus(subject, {
      status: reply.status,
      body: await errorBody(chunks),
      retryAfterMs: retryAfterMsOf(reply.header("retry-after"), clock.nowMs()),
    });
  };

/**
 * The ollama package over a transport that can be stopped before the head too, keeps within bounds, and turns every
 * fault into its EngramError before the package sees it (and prints it). Close it when the call is over.
 */
export const openExchange = (
  { url, timeoutMs, clock }: ExchangeSettings,
  model: string,
  signal: AbortSignal,
): Exchange => {
  const subject: Subject = { server: addressOf(serverUrl(url)), model };
  const watch = startWatch(clock, timeoutMs, subject.server, signal);
  const fetch = Object.assign(fetchOver(watch, subject, clock), { preconnect: (): void => {} });
  return {
    subject,
    client: new Ollama({ host: url, fetch }),
    failureOf: (error) => {
      if (watch.signal.aborted) return watch.signal.reason;
      // The one fault that is left to the package to find.
      return error instanceof Error && error.message.startsWith("Did not receive done")
        ? failureOfEnd(subject)
        : error;
    },
    close: watch.end,
  };
};
