import type { Clock } from "../clock.ts";
import { EngramError } from "../errors.ts";
import {
  failureOfBreak,
  failureToReach,
  retryAfterMsOf,
  type FailedReply,
  type Subject,
} from "./failure.ts";
import { send, type HttpReply } from "./http.ts";
import { modelServerLimits } from "./server-limits.ts";
import type { Watch } from "./watch.ts";

/** Where a model server is, and how it is waited for. */
export type ServerSettings = {
  readonly url: string;
  /** Silence after which a call fails as model_timeout. */
  readonly timeoutMs: number;
  readonly clock: Clock;
};

/** What is a protocol's own in an exchange of requests. */
export type Protocol = {
  readonly subject: Subject;
  /** What to do about a server that cannot be reached. */
  readonly unreachable: string;
  /** The headers to send, of those that the package would. */
  readonly headers: (given: Headers) => Readonly<Record<string, string>>;
  /** A good reply's bytes as the package can read them; throws what is wrong with them. */
  readonly checked: (
    reply: HttpReply,
    chunks: AsyncIterable<Uint8Array>,
  ) => AsyncGenerator<Uint8Array>;
  readonly failureOfStatus: (reply: FailedReply) => EngramError;
  /** The body to send for the package's, where that is not the whole. */
  readonly whole?: ((body: string) => readonly string[]) | undefined;
};

/** The URL without what may be secret in it. */
export const addressOf = (url: URL): string =>
  `${url.protocol}//${url.host}${url.pathname}`.replace(/\/$/, "");

/** The configured address as a URL; one without a scheme is http. Fails with invalid_argument, naming the setting. */
export const serverUrl = (url: string, setting: string): URL => {
  const whole = url.includes("://") ? url : `http://${url}`;
  const read = URL.canParse(whole) ? new URL(whole) : null;
  if (read === null || !["http:", "https:"].includes(read.protocol))
    throw new EngramError("invalid_argument", `${setting} must be an http or https address`);
  return read;
};

const streamOf = (chunks: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> =>
  new ReadableStream(
    {
      pull: async (controller) => {
        const next = await chunks.next();
        if (next.done === true) controller.close();
        else controller.enqueue(next.value);
      },
    },
    // Nothing is read ahead of the reader.
    { highWaterMark: 0 },
  );

async function* bytesOf(
  reply: HttpReply,
  watch: Watch,
  subject: Subject,
): AsyncGenerator<Uint8Array> {
  const chunks = reply.body[Symbol.asyncIterator]();
  for (;;) {
    const next = await watch.heard(chunks.next()).catch((error: unknown) => {
      watch.signal.throwIfAborted();
      throw failureOfBreak(subject, error);
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

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/**
 * What a client package is given for `fetch`: it can be stopped before the head too (by the watch; a signal of the
 * package's is not heeded), keeps within bounds, and throws every fault as its EngramError before the package sees it.
 */
export const fetchOver =
  (watch: Watch, protocol: Protocol, clock: Clock): Fetch =>
  async (input, init) => {
    const { subject, whole } = protocol;
    const body = typeof init?.body === "string" ? init.body : "";
    const request = {
      method: init?.method ?? "GET",
      headers: protocol.headers(new Headers(init?.headers)),
      body: whole === undefined ? body : whole(body),
    };
    const url = new URL(input instanceof Request ? input.url : input);
    const reply = await watch.heard(send(url, request, watch.signal)).catch((error: unknown) => {
      watch.signal.throwIfAborted();
      throw failureToReach(subject, error, protocol.unreachable);
    });
    const chunks = bytesOf(reply, watch, subject);
    if (reply.status === 200) return new Response(streamOf(protocol.checked(reply, chunks)));
    const said = await errorBody(chunks).catch((error: unknown) => {
      watch.signal.throwIfAborted();
      // Of what is refused for good the words tell why; who is only busy has said it by the head.
      if (reply.status === 429 || reply.status >= 500) return "";
      throw error;
    });
    throw protocol.failureOfStatus({
      status: reply.status,
      body: said,
      retryAfterMs: retryAfterMsOf(reply.header, clock.nowMs()),
    });
  };
