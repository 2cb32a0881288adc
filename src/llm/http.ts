import http from "node:http";
import https from "node:https";

export type HttpRequest = {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  /** A large one in parts, which are sent one after the other as it is taken. */
  readonly body: string | readonly string[];
};

export type HttpReply = {
  readonly status: number;
  /** A header's value by its lower-case name; empty where there is none. */
  readonly header: (name: string) => string;
  /** The body as it comes; throws where the connection breaks before its end. Ending the iteration closes the connection. */
  readonly body: AsyncIterable<Uint8Array>;
};

// A connection of its own for each request: closing it is how a model server is told to stop, and a kept one could
// turn out dead only after the request was sent.
const agents = {
  http: new http.Agent({ keepAlive: false }),
  https: new https.Agent({ keepAlive: false }),
} as const;

async function* bodyOf(
  incoming: http.IncomingMessage,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of incoming) yield chunk;
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  signal.throwIfAborted();
}

/** UTF-16 units that are handed over at once. */
const sliceChars = 256 * 1024;

/** Lets others have the event loop. */
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** Resolves when more can be written, or nothing any more. */
const hasRoom = (outgoing: http.ClientRequest): Promise<void> =>
  new Promise((resolve) => {
    const go = (): void => {
      outgoing.off("drain", go).off("close", go);
      resolve();
    };
    outgoing.on("drain", go).on("close", go);
  });

/** Sends a body as the other side takes it, so that a large one leaves the event loop to others meanwhile. */
const sendParts = async (outgoing: http.ClientRequest, parts: readonly string[]): Promise<void> => {
  for (const part of parts)
    for (let at = 0; at < part.length;) {
      const isPairCut = /[\ud800-\udbff]/.test(part.charAt(at + sliceChars - 1));
      const end = at + sliceChars + (isPairCut ? 1 : 0);
      if (!outgoing.write(Buffer.from(part.slice(at, end)))) await hasRoom(outgoing);
      await turn();
      if (outgoing.destroyed) return;
      at = end;
    }
  outgoing.end();
};

const bytesIn = async (parts: readonly string[]): Promise<number> => {
  let bytes = 0;
  for (const part of parts) {
    bytes += Buffer.byteLength(part);
    if (part.length > sliceChars) await turn();
  }
  return bytes;
};

/**
 * Sends one request and resolves at the response's head; nothing is followed, decoded or retried, proxies are not used.
 * `signal` closes the connection at any moment, and what is awaited throws its reason. There is no timeout. Built on
 * node:http since fetch admits 256 requests per process at once, too few for agents that wait for slow models.
 */
export const send = async (
  url: URL,
  { method, headers, body }: HttpRequest,
  signal: AbortSignal,
): Promise<HttpReply> => {
  if (typeof body === "string")
    return open(url, { method, headers }, signal, async (it) => void it.end(body));
  const length = { "Content-Length": String(await bytesIn(body)) };
  return open(url, { method, headers: { ...headers, ...length } }, signal, (it) =>
    sendParts(it, body),
  );
};

/** `fill` sends the body. */
const open = (
  url: URL,
  { method, headers }: Omit<HttpRequest, "body">,
  signal: AbortSignal,
  fill: (outgoing: http.ClientRequest) => Promise<void>,
): Promise<HttpReply> =>
  new Promise((resolve, reject) => {
    const secure = url.protocol === "https:";
    const outgoing = secure
      ? https.request(url, { method, headers, agent: agents.https })
      : http.request(url, { method, headers, agent: agents.http });
    const stop = (): void => {
      reject(signal.reason);
      outgoing.destroy(new Error("stopped"));
    };
    outgoing.on("error", reject);
    outgoing.on("close", () => signal.removeEventListener("abort", stop));
    outgoing.on("response", (incoming) => {
      // Told to whoever reads the body; without a listener it would end the process while nobody does.
      incoming.on("error", () => {});
      resolve({
        status: incoming.statusCode ?? 0,
        header: (name) => [incoming.headers[name] ?? []].flat().join(", "),
        body: bodyOf(incoming, signal),
      });
    });
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    else fill(outgoing).catch(reject);
  });
