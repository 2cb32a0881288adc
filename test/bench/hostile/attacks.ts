import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { endHeaders, envelope, frame, greeting, grpcHead, ping } from "../../support/raw-http2.ts";

/** What one attacking connection does: what it says first, and again and again. Nothing: it waits to be closed. */
export type Attack = {
  readonly connections: number;
  readonly first: () => Uint8Array | string;
  /** The piece number `n`, said as soon as the one before is gone, or `everyMs`. */
  readonly next: ((n: number) => Uint8Array) | null;
  readonly everyMs: number;
  readonly reads: boolean;
};

const types = { data: 0, headers: 1, reset: 3, settings: 4, windowUpdate: 8, continuation: 9 };
const chat = grpcHead("/engram.api.v1.AgentService/Chat");
/** Stream identifiers of clients are odd. */
const streamAt = (n: number): number => 2 * n + 1;

const batch = (size: number, make: (n: number) => Uint8Array) => (at: number) =>
  Buffer.concat(Array.from({ length: size }, (_, n) => make(at * size + n)));

const flood = (next: Attack["next"], more: Partial<Attack> = {}): Attack => ({
  connections: 2,
  first: () => greeting,
  next,
  everyMs: 0,
  reads: true,
  ...more,
});

const post = (type: string, body: Uint8Array | string): Uint8Array =>
  Buffer.concat([
    Buffer.from(
      `POST /engram.api.v1.AgentService/CreateAgent HTTP/1.1\r\nHost: a\r\n` +
        `Content-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`,
    ),
    Buffer.from(body),
  ]);

const json = (body: string): Attack => {
  const request = post("application/json", body);
  return flood(() => request, { first: () => "", everyMs: 50 });
};

const deep = (depth: number): string =>
  `{"goal":"x","model":"m","config":{"responseSchema":${'{"a":'.repeat(depth)}1${"}".repeat(depth)}}}`;
const wide = (keys: number): string =>
  `{"goal":"x","model":"m","metadata":{${Array.from({ length: keys }, (_, n) => `"k${n}":"v"`).join(",")}}}`;

const stall = (first: string | Uint8Array, next: Attack["next"] = null): Attack =>
  flood(next, { first: () => first, connections: 1_000, everyMs: 1_000 });

/** By name, in the order in which they are tried. */
export const attacks: Readonly<Record<string, Attack>> = {
  "rapid reset": flood(
    batch(50, (n) =>
      Buffer.concat([
        frame(types.headers, endHeaders, streamAt(n), chat),
        frame(types.reset, 0, streamAt(n), "\0\0\0\x08"),
      ]),
    ),
  ),
  "resets provoked (WINDOW_UPDATE of 0)": flood(
    batch(50, (n) =>
      Buffer.concat([
        frame(types.headers, endHeaders, streamAt(n), chat),
        frame(types.windowUpdate, 0, streamAt(n), "\0\0\0\0"),
      ]),
    ),
  ),
  "streams opened without end": flood(
    batch(50, (n) => frame(types.headers, endHeaders, streamAt(n), chat)),
  ),
  "CONTINUATION flood": flood(
    batch(50, (n) =>
      n === 0
        ? frame(types.headers, 0, 1, chat)
        : frame(types.continuation, 0, 1, `\0\x04name\x7f\x80\x01${"v".repeat(255)}`),
    ),
  ),
  "empty CONTINUATION flood": flood(
    batch(50, (n) =>
      n === 0 ? frame(types.headers, 0, 1, chat) : frame(types.continuation, 0, 1),
    ),
  ),
  "PING flood": flood(batch(100, () => ping)),
  "SETTINGS flood, unread": flood(
    batch(100, () => frame(types.settings, 0, 0)),
    { reads: false },
  ),
  "empty DATA flood": flood(
    batch(100, (n) =>
      n === 0 ? frame(types.headers, endHeaders, 1, chat) : frame(types.data, 0, 1),
    ),
  ),
  "frames that lie about their length": flood(() => frame(0xff, 0, 1, "x".repeat(16_385))),
  "frames cut off": flood(null, {
    first: () =>
      Buffer.concat([greeting, frame(types.headers, endHeaders, 1, chat).subarray(0, 20)]),
    connections: 1_000,
  }),
  garbage: flood(() => randomBytes(16_384), { first: () => randomBytes(64) }),
  "a head of 1 MB": flood(() => Buffer.from(`x-long: ${"x".repeat(1_000_000)}\r\n`), {
    first: () => "GET /healthz HTTP/1.1\r\nHost: a\r\n",
  }),
  "silent connections": stall(""),
  "slow heads over HTTP/1.1": stall("GET / HTTP/1.1\r\n", () => Buffer.from("x-y: z\r\n")),
  "slow heads over HTTP/2": stall(Buffer.concat([greeting, frame(types.headers, 0, 1, chat)]), () =>
    frame(types.continuation, 0, 1),
  ),
  "slow bodies": stall(
    "POST /engram.api.v1.AgentService/GetAgent HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
    () => Buffer.from(" "),
  ),
  "bodies without end": flood(() => Buffer.alloc(65_536, "x"), {
    first: () =>
      "POST /engram.api.v1.AgentService/GetAgent HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000000000000\r\n\r\n",
  }),
  "JSON nested 100,000 deep": json(deep(100_000)),
  "JSON of 200,000 keys": json(wide(200_000)),
  "JSON that is no JSON, 4 MB": json("[".repeat(4_000_000)),
  "gzip that grows to 256 MB": bomb(),
};

function bomb(): Attack {
  const body = envelope(Bun.gzipSync(new Uint8Array(256 * 2 ** 20)), 1);
  const request = post("application/grpc-web+proto\r\nGrpc-Encoding: gzip", body);
  return flood(() => request, { first: () => "", everyMs: 50 });
}

/** Keeps all of an attack's connections at it, each opened anew as soon as it is closed, until the process ends. */
export function attack(name: string, port: number): void {
  const how = attacks[name];
  if (how === undefined) throw new Error(`no attack ${name}`);
  for (let n = 0; n < how.connections; n++) attackOnce(how, port);
}

function attackOnce(how: Attack, port: number): void {
  const socket: Socket = connect(port, "127.0.0.1", () => {
    socket.write(how.first());
    say(0);
  });
  const say = (n: number): void => {
    if (how.next === null || socket.destroyed) return;
    const wait = how.everyMs;
    const more = (): void => say(n + 1);
    const flushed = socket.write(how.next(n));
    if (wait > 0) setTimeout(more, wait);
    else if (flushed) setImmediate(more);
    else socket.once("drain", more);
  };
  socket.on("error", () => {});
  if (how.reads) socket.resume();
  else socket.pause();
  socket.once("close", () => setTimeout(() => attackOnce(how, port), 20));
}

if (import.meta.main) attack(process.argv[2] ?? "", Number(process.argv[3]));
