import { expect, test } from "bun:test";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { AgentService } from "../../src/gen/engram/api/v1/agent_pb.ts";
import type { PortWatch } from "../../src/server/watch.ts";
import { curl } from "../support/curl.ts";
import { openTestServer } from "../support/server.ts";
import { until } from "../support/stage.ts";

const service = "engram.api.v1.AgentService";

/** Keeps what it is told. */
const recording = () => {
  const ended: string[] = [];
  const refused: string[] = [];
  let open = 0;
  let connections = 0;
  const watch: PortWatch = {
    connected: () => void connections++,
    disconnected: () => void connections--,
    refused: (reason) => void refused.push(reason),
    began: (method, kind) => {
      open++;
      let over = false;
      return (code) => {
        if (over) throw new Error("a call has ended twice");
        over = true;
        open--;
        ended.push(`${method.replace(`${service}/`, "")} ${kind} ${code}`);
      };
    },
  };
  return { watch, ended, refused, open: () => open, connections: () => connections };
};

const transports: Readonly<Record<string, (baseUrl: string) => Transport>> = {
  gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
  "gRPC with compressed messages": (baseUrl) =>
    createGrpcTransport({
      baseUrl,
      sendCompression: compressionGzip,
      compressMinBytes: 0,
      acceptCompression: [compressionGzip],
    }),
  "gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  Connect: (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
};

test.each(Object.entries(transports))(
  "each call over %s is told of once, with how it ended",
  async (_, open) => {
    const seen = recording();
    await using server = await openTestServer({ watch: seen.watch });
    const client = createClient(AgentService, open(server.url));
    const settled = async (call: Promise<unknown>): Promise<void> => {
      await call.catch(() => {});
      await until("it has ended", () => seen.open() === 0);
    };
    /** The client keeps no time of its own: it would hang up before the server is late. */
    const headers = { "grpc-timeout": "200m", "connect-timeout-ms": "200" };
    await settled(client.getAgent({ agentId: "a" }));
    for (const goal of ["refuse", "bug"]) await settled(client.createAgent({ goal }));
    await settled(Array.fromAsync(client.replay({ agentId: "r" })));
    await settled(Array.fromAsync(client.replay({ agentId: "bug" })));
    await settled(Array.fromAsync(client.replay({ agentId: "follow" }, { headers })));
    const aborter = new AbortController();
    const left = Array.fromAsync(client.replay({ agentId: "follow" }, { signal: aborter.signal }));
    await server.agents.untilRunning(1);
    expect(seen.open()).toBe(1);
    aborter.abort();
    await settled(left);
    expect(seen.ended).toEqual([
      "GetAgent unary ok",
      "CreateAgent unary not_found",
      "CreateAgent unary internal",
      "Replay server_streaming ok",
      "Replay server_streaming internal",
      "Replay server_streaming deadline_exceeded",
      "Replay server_streaming canceled",
    ]);
    expect(seen.refused).toEqual([]);
  },
);

test("what does not parse is told of as the client's fault", async () => {
  const seen = recording();
  await using server = await openTestServer({ watch: seen.watch });
  const type = ["--header", "content-type: application/proto"];
  await curl(`${server.url}/${service}/GetAgent`, ...type, "--data-binary", "\u0001\u0002");
  await until("it has ended", () => seen.open() === 0);
  expect(seen.ended).toEqual(["GetAgent unary invalid_argument"]);
});

test("who has no key is told of, and no call begins", async () => {
  const seen = recording();
  await using server = await openTestServer({ watch: seen.watch, apiKeys: ["key"] });
  for (const open of Object.values(transports))
    await createClient(AgentService, open(server.url))
      .getAgent({ agentId: "a" })
      .catch(() => undefined);
  await curl(`${server.url}/metrics`);
  await curl(`${server.url}/healthz`);
  expect(seen.refused).toEqual(["key", "key", "key", "key", "key"]);
  expect(seen.ended).toEqual([]);
});

test("connections are told of until they are gone", async () => {
  const seen = recording();
  await using server = await openTestServer({ watch: seen.watch });
  const client = createClient(AgentService, createGrpcTransport({ baseUrl: server.url }));
  await client.getAgent({ agentId: "a" });
  expect(seen.connections()).toBe(1);
  await server.close();
  expect(seen.connections()).toBe(0);
});

for (const flag of ["--http1.1", "--http2-prior-knowledge"])
  test(`/metrics is read with GET or HEAD, and says what it is, ${flag}`, async () => {
    await using server = await openTestServer();
    const url = `${server.url}/metrics`;
    const got = await curl(url, flag);
    expect(got).toMatchObject({ status: 200, body: "engram_up 1\n" });
    expect(got.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(await curl(url, flag, "--head")).toMatchObject({ exitCode: 0, status: 200, body: "" });
    const posted = await curl(url, flag, "--data", "x");
    expect(posted.status).toBe(405);
    expect(posted.headers.get("allow")).toBe("GET, HEAD");
  });
