import { expect, test } from "bun:test";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import {
  Health,
  HealthCheckResponse_ServingStatus,
} from "../../src/gen/grpc/health/v1/health_pb.ts";
import { serverLimits } from "../../src/limits.ts";
import { curl } from "../support/curl.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { openTestServer } from "../support/server.ts";

const { SERVING, NOT_SERVING } = HealthCheckResponse_ServingStatus;

test("a watcher is told of each change, and readiness is asked only while somebody watches", async () => {
  const clock = makeManualClock();
  let reason: string | null = null;
  let asked = 0;
  const ready = async (): Promise<string | null> => {
    asked += 1;
    return reason;
  };
  await using server = await openTestServer({ clock, ready });
  const health = createClient(Health, createGrpcTransport({ baseUrl: server.url }));
  const watching = new AbortController();
  const watch = health.watch({}, { signal: watching.signal })[Symbol.asyncIterator]();
  expect((await watch.next()).value?.status).toBe(SERVING);
  for (const [next, status] of [
    ["the store is gone", NOT_SERVING],
    [null, SERVING],
  ] as const) {
    const told = watch.next();
    clock.advance(serverLimits.healthIntervalMs);
    reason = next;
    // The look before saw no change, so nothing was said.
    await Bun.sleep(0);
    clock.advance(serverLimits.healthIntervalMs);
    expect((await told).value?.status).toBe(status);
  }
  expect(asked).toBe(5);
  watching.abort();
  await watch.next().catch(() => {});
  for (let round = 0; round < 10; round += 1) {
    // By the second answer the server has seen that the watcher is gone.
    expect((await curl(`${server.url}/healthz`)).status).toBe(200);
    if (round > 0) clock.advance(serverLimits.healthIntervalMs);
  }
  expect(asked).toBe(5);
});

test("a readiness check that hangs is a reason", async () => {
  const clock = makeManualClock();
  const asked = Promise.withResolvers<void>();
  const ready = async (): Promise<string | null> => {
    asked.resolve();
    return new Promise(() => {});
  };
  await using server = await openTestServer({ clock, ready });
  const answer = curl(`${server.url}/readyz`);
  await asked.promise;
  clock.advance(serverLimits.readyTimeoutMs);
  expect(await answer).toMatchObject({
    status: 503,
    body: "the readiness check did not answer within 5 s\n",
  });
});
