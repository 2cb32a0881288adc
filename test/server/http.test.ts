import { expect, test } from "bun:test";
import { connect } from "node:net";
import { curl, json } from "../support/curl.ts";
import { openTestServer } from "../support/server.ts";

const service = "engram.api.v1.AgentService";
const versions = { "HTTP/1.1": "--http1.1", "HTTP/2": "--http2-prior-knowledge" };

for (const [version, flag] of Object.entries(versions)) {
  test(`curl speaks JSON over ${version}`, async () => {
    await using server = await openTestServer();
    const answer = await curl(
      `${server.url}/${service}/GetAgent`,
      flag,
      ...json,
      '{"agentId":"a"}',
    );
    expect(answer).toMatchObject({
      httpVersion: version === "HTTP/2" ? "HTTP/2" : version,
      status: 200,
      body: '{"agentId":"a"}',
    });
  });

  test(`what does not parse is the client's fault, over ${version}`, async () => {
    await using server = await openTestServer();
    const url = `${server.url}/${service}/GetAgent`;
    const broken = await curl(url, flag, ...json, '{"agentId":');
    expect(broken.status).toBe(400);
    expect(JSON.parse(broken.body)).toEqual({
      code: "invalid_argument",
      message: expect.stringContaining("cannot decode message engram.api.v1.GetAgentRequest"),
    });
    const mistyped = await curl(url, flag, ...json, '{"agentId":7}');
    expect(JSON.parse(mistyped.body)).toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining("agent_id"),
    });
    const binary = await curl(
      url,
      flag,
      "--header",
      "content-type: application/proto",
      "--data-raw",
      "\n\t",
    );
    expect(binary.status).toBe(400);
    expect(JSON.parse(binary.body)).toEqual({
      code: "invalid_argument",
      message: expect.stringContaining("not valid protobuf"),
    });
    expect(server.logged.filter(({ level }) => level === "error")).toEqual([]);
  });

  test(`a call in the wrong shape is told the right one, over ${version}`, async () => {
    await using server = await openTestServer();
    const get = await curl(`${server.url}/${service}/GetAgent`, flag);
    expect(get.status).toBe(405);
    expect(get.headers.get("allow")).toBe("POST");
    expect(JSON.parse(get.body).message).toBe("GetAgent is called with POST, not GET");
    const form = await curl(`${server.url}/${service}/GetAgent`, flag, "--data", "a=b");
    expect(form.status).toBe(415);
    expect(JSON.parse(form.body).message).toContain("it takes application/json");
    const streaming = await curl(`${server.url}/${service}/Replay`, flag, ...json, "{}");
    expect(streaming.status).toBe(415);
    expect(JSON.parse(streaming.body).message).toContain("application/connect+json");
    const nowhere = await curl(`${server.url}/nowhere?x=1`, flag);
    expect(nowhere.status).toBe(404);
    const { code, message } = JSON.parse(nowhere.body);
    expect(code).toBe("not_found");
    for (const name of [service, "dura.api.v1.AgentService", "/healthz", "/readyz", "/metrics"]) {
      expect(message).toContain(name);
    }
  });

  test(`plain paths over ${version}`, async () => {
    let reason: string | null = null;
    await using server = await openTestServer({
      apiKeys: ["key"],
      ready: async () => {
        if (reason === "broken") throw new Error("the store cannot be reached");
        return reason;
      },
    });
    expect(await curl(`${server.url}/healthz`, flag)).toMatchObject({ status: 200, body: "ok\n" });
    expect(await curl(`${server.url}/readyz`, flag)).toMatchObject({ status: 200, body: "ok\n" });
    reason = "tools are not scanned";
    const unready = await curl(`${server.url}/readyz`, flag);
    expect(unready).toMatchObject({ status: 503, body: "tools are not scanned\n" });
    reason = "broken";
    const broken = await curl(`${server.url}/readyz`, flag);
    expect(broken).toMatchObject({ status: 503, body: "the store cannot be reached\n" });
    expect((await curl(`${server.url}/healthz`, flag, "--request", "PUT")).status).toBe(405);
    expect((await curl(`${server.url}/metrics`, flag)).status).toBe(401);
    const metrics = await curl(`${server.url}/metrics`, flag, "--header", "x-api-key: key");
    expect(metrics).toMatchObject({ status: 200, body: "engram_up 1\n" });
  });
}

test("Chat over HTTP/1.1 is told of HTTP/2 and of SendMessage", async () => {
  await using server = await openTestServer();
  const answer = await curl(
    `${server.url}/${service}/Chat`,
    "--http1.1",
    "--header",
    "content-type: application/connect+json",
    "--data",
    "",
  );
  expect(answer.status).toBe(505);
  expect(JSON.parse(answer.body).message).toContain("SendMessage");
});

/** What the server says to these bytes until it closes the connection. */
const exchange = async (port: number, bytes: string): Promise<string> =>
  new Promise((resolve, reject) => {
    let said = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    socket.on("data", (chunk) => (said += chunk.toString()));
    socket.on("close", () => resolve(said));
    socket.on("error", reject);
  });

for (const [name, head] of Object.entries({
  "no Host": "GET /healthz HTTP/1.1\r\n\r\n",
  "two Hosts": "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
  "a Host that is none": `POST /${service}/GetAgent HTTP/1.1\r\nHost: a b[\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`,
  garbage: "no http at all\r\n\r\n",
})) {
  test(`HTTP/1.1 with ${name} is refused with 400`, async () => {
    await using server = await openTestServer();
    expect(await exchange(server.port, head)).toStartWith("HTTP/1.1 400 ");
  });
}

test("an oversized body without a length is answered, not cut off", async () => {
  await using server = await openTestServer();
  const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
  const head = [
    `POST /${service}/CreateAgent HTTP/1.1`,
    "Host: a",
    "Content-Type: application/json",
    "Transfer-Encoding: chunked",
    "Connection: close",
  ];
  const body = `${head.join("\r\n")}\r\n\r\n${chunk.repeat(100)}0\r\n\r\n`;
  const answer = await exchange(server.port, body);
  expect(answer).toStartWith("HTTP/1.1 429 ");
  expect(answer).toContain('"resource_exhausted"');
});
