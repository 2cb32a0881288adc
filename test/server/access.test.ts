import { expect, test } from "bun:test";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { AgentService } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { curl, json } from "../support/curl.ts";
import { openSession, post } from "../support/raw-http2.ts";
import { openTestServer } from "../support/server.ts";

const path = "engram.api.v1.AgentService/GetAgent";
const versions = ["--http1.1", "--http2-prior-knowledge"];

for (const flag of versions) {
  test(`Connect with keys, ${flag}`, async () => {
    await using server = await openTestServer({ apiKeys: ["first", "second"] });
    const call = async (...headers: string[]) =>
      curl(
        `${server.url}/${path}`,
        flag,
        ...headers.flatMap((header) => ["--header", header]),
        ...json,
        "{}",
      );
    expect((await call("x-api-key: first")).status).toBe(200);
    expect((await call("authorization: Bearer second")).status).toBe(200);
    expect((await call("authorization: bearer second")).status).toBe(200);
    for (const headers of [
      [],
      ["x-api-key: firs"],
      ["x-api-key: firstt"],
      ["x-api-key: first, second"],
      ["x-api-key;"],
      ["authorization: Basic first"],
      ["authorization: Bearer"],
      [`x-api-key: ${"x".repeat(8000)}`],
    ]) {
      const refused = await call(...headers);
      expect(refused.status).toBe(401);
      expect(JSON.parse(refused.body)).toEqual({
        code: "unauthenticated",
        message: expect.stringContaining("x-api-key"),
      });
    }
    const nowhere = await curl(`${server.url}/nowhere`, flag);
    expect(nowhere.status).toBe(401);
    expect(JSON.parse(nowhere.body).code).toBe("unauthenticated");
    expect(JSON.stringify(server.logged)).not.toContain("firs");
  });
}

test("without a key no handler runs and no body is awaited", async () => {
  await using server = await openTestServer({ apiKeys: ["key"] });
  for (const transport of [
    createGrpcWebTransport({ baseUrl: server.url, httpVersion: "1.1" }),
    createConnectTransport({ baseUrl: server.url, httpVersion: "2" }),
  ]) {
    const call = Array.fromAsync(createClient(AgentService, transport).replay({ agentId: "r" }));
    const error = await call.then(() => null, ConnectError.from);
    expect(error?.code).toBe(Code.Unauthenticated);
  }
  expect(server.agents.lastAbort()).toBeNull();
});

const origin = "https://app.example";

for (const flag of versions) {
  test(`CORS, ${flag}`, async () => {
    await using server = await openTestServer({ apiKeys: ["key"], corsOrigins: [origin] });
    const url = `${server.url}/${path}`;
    const preflight = await curl(
      url,
      flag,
      "--request",
      "OPTIONS",
      "--header",
      `origin: ${origin}`,
      "--header",
      "access-control-request-method: POST",
      "--header",
      "access-control-request-headers: x-api-key,content-type",
    );
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe(origin);
    expect(preflight.headers.get("access-control-allow-methods")).toContain("POST");
    const allowed = preflight.headers.get("access-control-allow-headers")?.toLowerCase() ?? "";
    for (const header of [
      "content-type",
      "connect-protocol-version",
      "connect-timeout-ms",
      "x-grpc-web",
      "grpc-timeout",
      "x-user-agent",
      "x-api-key",
      "authorization",
    ]) {
      expect(allowed.split(", ")).toContain(header);
    }

    const from = (page: string) => ["--header", `origin: ${page}`, "--header", "x-api-key: key"];
    const answer = await curl(url, flag, ...from(origin), ...json, "{}");
    expect(answer.status).toBe(200);
    expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
    expect(answer.headers.get("access-control-expose-headers")?.toLowerCase()).toContain(
      "grpc-status",
    );
    const refused = await curl(url, flag, "--header", `origin: ${origin}`, ...json, "{}");
    expect(refused.status).toBe(401);
    expect(refused.headers.get("access-control-allow-origin")).toBe(origin);
    const web = ["--header", "content-type: application/grpc-web+proto", "--data", ""];
    const nowhere = await curl(`${server.url}/nowhere`, flag, ...from(origin), ...web);
    expect(nowhere.headers.get("grpc-status")).toBe("12");
    expect(nowhere.headers.get("access-control-allow-origin")).toBe(origin);

    const foreign = await curl(url, flag, ...from("https://evil.example"), ...json, "{}");
    expect(foreign.status).toBe(403);
    expect(foreign.headers.get("access-control-allow-origin")).toBeNull();
    expect(JSON.parse(foreign.body).message).toContain("CORS_ORIGINS");
  });
}

test("a head whose authority makes no URL is refused like any other without a key", async () => {
  await using server = await openTestServer({ apiKeys: ["key"] });
  const session = await openSession(server.url);
  const head = { "content-type": "application/grpc", ":authority": "[" };
  const { headers } = await post(session, `/${path}`, head, Buffer.of());
  expect(headers["grpc-status"]).toBe(String(Code.Unauthenticated));
  expect(server.logged.map(({ level }) => level)).toEqual(["warn"]);
  session.destroy();
});
