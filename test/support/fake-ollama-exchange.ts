import type { Socket } from "node:net";
import { isJsonObject, type JsonObject, type JsonValue } from "../../src/agent/json.ts";

/** A request as it came, and the means to answer it. */
export type FakeExchange = {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: JsonObject;
  readonly bodyText: string;
  /** Resolves when the connection is over: true where the client left before the end of the reply. */
  readonly over: Promise<boolean>;
  /** Ends when the client leaves. */
  readonly signal: AbortSignal;
  readonly plain: (
    status: number,
    body: string | Uint8Array,
    headers?: Record<string, string>,
  ) => void;
  readonly json: (status: number, body: JsonValue) => void;
  /** Bytes of a stream; its head goes out with the first. */
  readonly raw: (bytes: string | Uint8Array) => void;
  /** One event of a chat, filled up with what each carries. */
  readonly event: (event: JsonObject) => void;
  readonly say: (text: string) => void;
  /** The last event, and the end of the stream. */
  readonly done: (last?: JsonObject) => void;
  /** The end of the stream, with or without (`cut`) saying so. */
  readonly end: () => void;
  readonly cut: () => void;
  readonly reset: () => void;
};

/** The present time as Go prints it. */
export const stampNow = (): string => new Date().toISOString().replace("Z", "123456Z");

const contentType = { "Content-Type": "application/json; charset=utf-8" };

/** The exchange on a connection; answers by hand, since a server library would not be rude on request. */
export const openFakeExchange = (
  socket: Socket,
  head: string,
  bodyText: string,
  streamType = "application/x-ndjson",
): FakeExchange => {
  const [requestLine = "", ...lines] = head.split("\r\n");
  const [method = "", path = ""] = requestLine.split(" ");
  const parsed: unknown = bodyText === "" ? {} : JSON.parse(bodyText);
  const body = isJsonObject(parsed) ? parsed : {};
  const leaving = new AbortController();
  let ended = false;
  let begun = false;
  const over = new Promise<boolean>((resolve) => {
    socket.on("close", () => {
      if (!ended) leaving.abort();
      resolve(!ended);
    });
  });
  const write = (bytes: string | Uint8Array): void => void (socket.writable && socket.write(bytes));
  const finish = (bytes: string | Uint8Array): void => {
    ended = true;
    if (socket.writable) socket.end(bytes);
  };
  const raw = (bytes: string | Uint8Array): void => {
    if (!begun)
      write(
        `HTTP/1.1 200 OK\r\nContent-Type: ${streamType}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`,
      );
    begun = true;
    write(
      Buffer.concat([
        Buffer.from(`${Buffer.byteLength(bytes).toString(16)}\r\n`),
        Buffer.from(bytes),
        Buffer.from("\r\n"),
      ]),
    );
  };
  const event = (fields: JsonObject): void =>
    // Go's encoder escapes these three.
    raw(
      `${JSON.stringify({ model: body["model"] ?? "", created_at: stampNow(), ...fields }).replace(
        /[<>&]/g,
        (char) => `\\u00${char.charCodeAt(0).toString(16)}`,
      )}\n`,
    );
  const plain: FakeExchange["plain"] = (status, text, headers = {}) => {
    const all = {
      "Content-Length": String(Buffer.byteLength(text)),
      Connection: "close",
      ...headers,
    };
    const fields = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    write(`HTTP/1.1 ${status} Said\r\n${fields.join("")}\r\n`);
    finish(text);
  };
  const end = (): void => finish("0\r\n\r\n");
  return {
    method,
    path,
    headers: Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    ),
    body,
    bodyText,
    over,
    signal: leaving.signal,
    plain,
    json: (status, value) => plain(status, JSON.stringify(value), contentType),
    raw,
    event,
    say: (content) => event({ message: { role: "assistant", content }, done: false }),
    done: (last = {}) => {
      event({
        message: { role: "assistant", content: "" },
        done: true,
        done_reason: "stop",
        total_duration: 5_000_000,
        prompt_eval_count: 11,
        eval_count: 7,
        ...last,
      });
      end();
    },
    end,
    cut: () => finish(""),
    reset: () => {
      ended = true;
      socket.resetAndDestroy();
    },
  };
};

/** Reads the one request of a connection. */
export const readRequest = (
  socket: Socket,
  onRequest: (head: string, body: string) => void,
): void => {
  let head: string | null = null;
  let parts: Buffer[] = [];
  let missing = 0;
  socket.on("data", (bytes) => {
    if (head !== null && missing <= 0) return;
    parts.push(Buffer.from(bytes));
    missing -= bytes.length;
    if (head === null) {
      const read = Buffer.concat(parts);
      const headEnd = read.indexOf("\r\n\r\n");
      if (headEnd === -1) return;
      head = read.subarray(0, headEnd).toString();
      parts = [read.subarray(headEnd + 4)];
      missing =
        Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0) + headEnd + 4 - read.length;
    }
    if (missing <= 0) onRequest(head, Buffer.concat(parts).toString());
  });
};
