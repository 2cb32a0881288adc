import { expect, test } from "bun:test";
import { connect, createServer } from "node:net";
import { serverLimits } from "../../src/limits.ts";
import { listen } from "../../src/server/listen.ts";
import { curl } from "../support/curl.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { openTestServer } from "../support/server.ts";
import { serveFakesEntry } from "../support/serve-fakes.ts";

test("a port that becomes free in time is taken", async () => {
  const clock = makeManualClock();
  const before = await openTestServer();
  let warned = Promise.withResolvers<void>();
  const log = (): void => warned.resolve();
  const opening = openTestServer({ port: before.port, clock, log });
  await warned.promise;
  await before.close();
  clock.advance(serverLimits.listenRetryIntervalMs);
  await using server = await opening;
  expect(server.port).toBe(before.port);
  expect((await curl(`${server.url}/healthz`)).status).toBe(200);
});

test("a port that stays in use is a clear error", async () => {
  const clock = makeManualClock();
  await using before = await openTestServer();
  const warned = Promise.withResolvers<void>();
  const opening = openTestServer({ port: before.port, clock, log: () => warned.resolve() });
  const failure = opening.then(
    () => null,
    (error: unknown) => error,
  );
  await warned.promise;
  clock.advance(serverLimits.listenRetryMs);
  expect(await failure).toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("GRPC_PORT"),
  });
});

test("each try to listen takes back what it has asked of the port", async () => {
  const clock = makeManualClock();
  await using before = await openTestServer();
  const server = createServer();
  const tried = new Set<number>();
  const attempts = 12;
  for (let attempt = 0; attempt < attempts; attempt++) {
    const asked = Promise.withResolvers<void>();
    const stuck = { ...clock, after: () => (asked.resolve(), () => {}) };
    void listen(server, { host: "127.0.0.1", port: before.port }, stuck, () => {});
    await asked.promise;
    tried.add(server.listenerCount("listening") + server.listenerCount("error"));
  }
  expect([...tried]).toEqual([0]);
});

test("a host that is not here is a clear error at once", async () => {
  const failure = await openTestServer({ host: "192.0.2.1" }).catch((error: unknown) => error);
  expect(failure).toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("check HOST"),
  });
});

test("connections stay below the limit of descriptors; the others are closed, not left waiting", async () => {
  const room = 20;
  const limit = serverLimits.descriptorsReserved + room;
  await using child = Bun.spawn(
    ["sh", "-c", `ulimit -n ${limit} && exec "$0" "$1"`, process.execPath, serveFakesEntry],
    { stdout: "pipe", stderr: "inherit" },
  );
  const reader = child.stdout.getReader();
  const port = Number(new TextDecoder().decode((await reader.read()).value));
  const sockets = Array.from({ length: 3 * room }, () => connect(port, "127.0.0.1"));
  const refused = await new Promise<number>((resolve) => {
    let count = 0;
    for (const socket of sockets) {
      socket.on("error", () => {});
      socket.once("close", () => {
        count += 1;
        if (count === 2 * room) resolve(count);
      });
    }
  });
  expect(refused).toBe(2 * room);
  const open = sockets.filter(({ destroyed }) => !destroyed);
  expect(open.length).toBe(room);
  const answered = new Promise<string>((resolve) =>
    open[0]?.once("data", (chunk) => resolve(chunk.toString())),
  );
  open[0]?.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(await answered).toStartWith("HTTP/1.1 200 ");
  for (const socket of sockets) socket.destroy();
  child.kill();
  await child.exited;
});
