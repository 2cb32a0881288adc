import { expect, test } from "bun:test";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { constants } from "node:http2";
import { connect, type Socket } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { AgentService, ClientMessageSchema } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { serverLimits } from "../../src/limits.ts";
import { makeManualClock, type ManualClock } from "../support/manual-clock.ts";
import {
  endHeaders,
  envelope,
  frame,
  greeting,
  grpcHead,
  openSession,
  ping,
  pong,
  post,
  preface,
} from "../support/raw-http2.ts";
import { openTestServer, type TestServer, unwatched } from "../support/server.ts";
import { untilStuck } from "../support/stuck-clients.ts";

const { sniffMs, headMs, bodyMs, idleMs, goodbyeMs, pingIntervalMs, pingTimeoutMs } = serverLimits;
const service = "/engram.api.v1.AgentService";
type Setting = { readonly server: TestServer; readonly clock: ManualClock };
type Closing = { readonly closed: () => boolean };
type Client = Closing & { readonly socket: Socket; readonly said: () => string };

const openSetting = async (): Promise<AsyncDisposable & Setting> => {
  const clock = makeManualClock();
  const server = await openTestServer({ clock });
  return { server, clock, [Symbol.asyncDispose]: server.close };
};

/** A whole answer on another connection: what was sent before it has been read by then. */
const roundTrip = async ({ server }: Setting): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect(server.port, "127.0.0.1", () =>
      socket.write("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
    );
    socket.on("error", reject).on("data", () => {});
    socket.on("close", () => resolve());
  });

const dial = async (setting: Setting, bytes: string | Uint8Array = ""): Promise<Client> => {
  let said = "";
  let closed = false;
  const socket = connect({ port: setting.server.port, host: "127.0.0.1", noDelay: true });
  await new Promise<void>((resolve, reject) =>
    socket.once("error", reject).once("connect", resolve),
  );
  socket.on("data", (chunk: Buffer) => (said += chunk.toString("latin1")));
  socket.on("close", () => (closed = true));
  socket.on("error", () => {});
  if (bytes.length > 0) socket.write(bytes);
  await roundTrip(setting);
  return { socket, said: () => said, closed: () => closed };
};

/** Moves the time on second by second until the connection is closed, and gives how long that took. */
const lifeMs = async (
  setting: Setting,
  { closed }: Closing,
  eachSecond: () => unknown = () => {},
): Promise<number> => {
  for (let second = 1; second <= 300; second += 1) {
    setting.clock.advance(1000);
    eachSecond();
    await roundTrip(setting);
    if (closed()) return second * 1000;
  }
  throw new Error("still open after 300 s");
};

/** The sweep may be late by one interval, and so may the one after it. */
const slackMs = 2 * serverLimits.sweepIntervalMs;
const expectWithin = (actualMs: number, fromMs: number, toMs = fromMs): void => {
  expect(actualMs).toBeGreaterThanOrEqual(fromMs);
  expect(actualMs).toBeLessThanOrEqual(toMs + slackMs);
};

test("a client that says nothing, or not enough to be known", async () => {
  await using setting = await openSetting();
  for (const bytes of ["", "P", preface.slice(0, 23)]) {
    const client = await dial(setting, bytes);
    expectWithin(await lifeMs(setting, client), sniffMs);
    expect(client.said()).toBe("");
  }
});

test("HTTP/1.1 heads that drip", async () => {
  await using setting = await openSetting();
  const client = await dial(setting, "GET /healthz HTTP/1.1\r\nHost: a\r\n");
  const drip = (): unknown => client.socket.write("X-Drip: 1\r\n");
  expectWithin(await lifeMs(setting, client, drip), headMs, headMs + goodbyeMs);
});

test("HTTP/1.1 between two requests", async () => {
  await using setting = await openSetting();
  const client = await dial(setting, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(client.said()).toContain("200 OK");
  expectWithin(await lifeMs(setting, client), idleMs, idleMs + goodbyeMs);
});

test("an HTTP/1.1 body that stalls is answered with DEADLINE_EXCEEDED first", async () => {
  await using setting = await openSetting();
  const head = `POST ${service}/GetAgent HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{`;
  const client = await dial(setting, head);
  const drip = (): unknown => client.socket.write(" ");
  expectWithin(await lifeMs(setting, client, drip), bodyMs, bodyMs + goodbyeMs);
  expect(client.said()).toContain("deadline_exceeded");
});

test("HTTP/2 without a call, whether it pings or not", async () => {
  await using setting = await openSetting();
  for (const drip of [Buffer.of(), ping]) {
    const client = await dial(setting, greeting);
    const life = await lifeMs(setting, client, () => drip.length > 0 && client.socket.write(drip));
    expectWithin(life, headMs, headMs + goodbyeMs);
  }
});

test("an HTTP/2 head that never ends", async () => {
  await using setting = await openSetting();
  const headers = frame(1, 0, 1, grpcHead(`${service}/GetAgent`));
  const client = await dial(setting, Buffer.concat([greeting, headers]));
  const drip = (): unknown => client.socket.write(frame(9, 0, 1));
  expectWithin(await lifeMs(setting, client, drip), headMs, headMs + goodbyeMs);
});

test("HTTP/2 between two calls", async () => {
  await using setting = await openSetting();
  const session = await openSession(setting.server.url);
  let closed = false;
  session.on("close", () => (closed = true));
  const answer = await post(session, "/healthz", { ":method": "GET" }, Buffer.of());
  expect(answer.body.toString()).toBe("ok\n");
  expectWithin(await lifeMs(setting, { closed: () => closed }), idleMs, idleMs + goodbyeMs);
});

/** Which of the two ways through the server a call takes: the plain one, or connect's. */
const encodings = ["identity", "gzip"];
for (const [method, encoding] of ["GetAgent", "Replay", "Chat"].flatMap((name) =>
  encodings.map((one) => [name, one] as const),
)) {
  test(`${method} (${encoding}) without a message is answered with DEADLINE_EXCEEDED`, async () => {
    await using setting = await openSetting();
    const session = await openSession(setting.server.url);
    const stream = session.request({
      ":method": "POST",
      ":path": `${service}/${method}`,
      "content-type": "application/grpc",
      "grpc-encoding": encoding,
    });
    // Half an envelope: bytes, but no message.
    stream.write(Buffer.of(0, 0, 0));
    let status: unknown = null;
    let message: unknown = null;
    const take = (headers: Record<string, unknown>): void => {
      status ??= headers["grpc-status"];
      message ??= headers["grpc-message"];
    };
    stream
      .on("response", take)
      .on("trailers", take)
      .on("data", () => {});
    let closed = false;
    stream.on("close", () => (closed = true));
    await roundTrip(setting);
    setting.clock.advance(bodyMs - 1000);
    await roundTrip(setting);
    expect(status).toBeNull();
    expectWithin(await lifeMs(setting, { closed: () => closed }), 1000, 1000 + goodbyeMs);
    expect(status).toBe("4");
    // Connect knows of a call that streams its answers only that it streams.
    const isStream = method === "Chat" || (method === "Replay" && encoding === "gzip");
    expect(message).toContain(isStream ? "no first message" : "was not complete");
    expect(setting.server.agents.running()).toBe(0);
    session.destroy();
  });
}

test("a peer that gives no sign of life loses its calls; one that does keeps them", async () => {
  await using setting = await openSetting();
  const transport = createGrpcTransport({ baseUrl: setting.server.url });
  const alive = createClient(AgentService, transport).sendMessage({ agentId: "a" });
  const running = alive.then((answer) => answer.text);
  await setting.server.agents.untilRunning(1);

  // It speaks HTTP/2 by hand and answers the first PING only.
  const message = frame(0, 1, 1, "\0\0\0\0\0");
  const headers = frame(1, endHeaders, 1, grpcHead(`${service}/SendMessage`));
  const dead = await dial(setting, Buffer.concat([greeting, headers, message]));
  await setting.server.agents.untilRunning(2);
  const asked = ping.toString("latin1").slice(0, 5);
  const answerOnce = (): void => {
    if (!dead.said().includes(asked)) return;
    dead.socket.write(pong);
    dead.socket.off("data", answerOnce);
  };
  dead.socket.on("data", answerOnce);
  expectWithin(await lifeMs(setting, dead), 2 * pingIntervalMs + pingTimeoutMs);
  await setting.server.agents.untilRunning(1);

  for (let step = 0; step < 120; step += 1) {
    setting.clock.advance(pingTimeoutMs / 4);
    await roundTrip(setting);
  }
  setting.server.agents.release();
  expect(await running).toBe("done");
});

test("who says goodbye and stays is not asked for a sign of life, and is let go", async () => {
  let connections = 0;
  const clock = makeManualClock();
  const connected = (): void => void connections++;
  const disconnected = (): void => void connections--;
  await using server = await openTestServer({
    clock,
    watch: { ...unwatched, connected, disconnected },
  });
  const socket = connect({ port: server.port, host: "127.0.0.1", allowHalfOpen: true });
  const heard = async (event: "data" | "end"): Promise<void> =>
    new Promise((resolve) => socket.once(event, () => resolve()));
  socket.write(Buffer.concat([greeting, frame(1, endHeaders, 1, grpcHead(`${service}/GetAgent`))]));
  await heard("data");
  socket.write(frame(0, 1, 1, "\0\0\0\0\0"));
  await heard("data");
  const settingsTaken = frame(4, 1, 0);
  const goaway = frame(7, 0, 0, "\0".repeat(8));
  socket.write(Buffer.concat([settingsTaken, settingsTaken, goaway]));
  await heard("end");
  clock.advance(idleMs - 1000);
  expect(connections).toBe(1);
  clock.advance(goodbyeMs + slackMs + 1000);
  await new Promise((resolve) => setImmediate(resolve));
  expect(connections).toBe(0);
  socket.destroy();
});

const floodChat = envelope(
  toBinary(
    ClientMessageSchema,
    create(ClientMessageSchema, {
      agentId: "a",
      payload: { case: "userInput", value: { content: "flood" } },
    }),
  ),
);
const floodReplay = envelope(Buffer.from('{"agentId":"flood"}'));
const timeoutMs = 10_000;
/** Connect's own deadlines go by the system's time, which is to be longer than it takes to get stuck. */
const connectTimeoutMs = 500;
const ways: readonly (readonly [string, Record<string, string>, string, Uint8Array])[] = [
  [
    "plain gRPC",
    { "content-type": "application/grpc", "grpc-timeout": `${timeoutMs}m` },
    "Chat",
    floodChat,
  ],
  [
    "gRPC through connect",
    {
      "content-type": "application/grpc",
      "grpc-encoding": "gzip",
      "grpc-timeout": `${connectTimeoutMs}m`,
    },
    "Chat",
    floodChat,
  ],
  [
    "Connect",
    { "content-type": "application/connect+json", "connect-timeout-ms": `${connectTimeoutMs}` },
    "Replay",
    floodReplay,
  ],
];

test.each(ways)(
  "a handler that is stuck in a write ends at its deadline, and its call soon after: %s",
  async (way, headers, method, body) => {
    await using setting = await openSetting();
    const session = await openSession(setting.server.url);
    const path = `${service}/${method}`;
    const stream = session.request({ ":method": "POST", ":path": path, ...headers });
    let closed = false;
    stream.on("error", () => {}).on("close", () => (closed = true));
    // Nobody reads what it is answered.
    stream.write(body);
    if (method === "Replay") stream.end();
    await setting.server.agents.untilRunning(1);
    await untilStuck(setting.server);
    expect(setting.server.agents.flooded()).toBeGreaterThan(0);
    // Connect's have passed by themselves, or will: to move the clock would take from what comes behind.
    if (way === "plain gRPC") setting.clock.advance(timeoutMs);
    await setting.server.agents.untilRunning(0);
    expectWithin(await lifeMs(setting, { closed: () => closed }), goodbyeMs);
    expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
    session.destroy();
  },
);

test("a handler that is stuck in a write over HTTP/1.1 ends at its deadline, and its connection soon after", async () => {
  await using setting = await openSetting();
  const { server, clock } = setting;
  const head = [
    `POST ${service}/Replay HTTP/1.1`,
    "Host: a",
    "Content-Type: application/connect+json",
    `Connect-Timeout-Ms: ${connectTimeoutMs}`,
    `Content-Length: ${floodReplay.length}`,
  ].join("\r\n");
  const socket = connect(server.port, "127.0.0.1").on("error", () => {});
  socket.pause().write(Buffer.concat([Buffer.from(`${head}\r\n\r\n`), floodReplay]));
  await server.agents.untilRunning(1);
  await untilStuck(server);
  expect(server.agents.flooded()).toBeGreaterThan(0);
  await server.agents.untilRunning(0);
  for (let second = 0; second < (goodbyeMs + slackMs) / 1000; second += 1) clock.advance(1000);
  let end = "";
  socket.on("data", (chunk: Buffer) => (end = chunk.toString("latin1").slice(-7)));
  socket.resume();
  await new Promise((resolve) => socket.once("close", resolve));
  expect(end).not.toEndWith("\r\n0\r\n\r\n");
});

test("the sweep stands still while nobody is connected", async () => {
  await using setting = await openSetting();
  expect(setting.clock.waiting()).toBe(0);
  await dial(setting);
  expect(setting.clock.waiting()).toBe(1);
  await setting.server.close();
  setting.clock.advance(serverLimits.sweepIntervalMs);
  expect(setting.clock.waiting()).toBe(0);
});
