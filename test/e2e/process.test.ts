import { expect, setDefaultTimeout, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import { connect } from "node:net";
import { copyFile, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { makeCertificate } from "../support/certificate.ts";
import { createAgent, historyOf, openChat, refusalOf, talk } from "../support/conversation.ts";
import { curl, json } from "../support/curl.ts";
import { makeFolder, openEngine, runBinary } from "../support/engine-process.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";

setDefaultTimeout(60_000);

test("SIGTERM ends open streams and exits with 0, and the answer under way goes on after it", async () => {
  await using engine = await openEngine();
  const agentId = await createAgent(engine.client, { model: "scripted:10" });
  const idle = await createAgent(engine.client);
  await using resting = openChat(engine.client, idle);
  await using chat = openChat(engine.client, agentId, { after: 1n });
  chat.say("write 200 words");
  await chat.until(() => wordsIn(chat.listener.partial) > 30);
  const [exitCode, restingEnd, chatEnd] = await Promise.all([
    engine.stop(),
    resting.broken(),
    chat.broken(),
  ]);
  expect(exitCode).toBe(0);
  for (const end of [restingEnd, chatEnd]) expect(end.code).toBe(Code.Unavailable);
  const { listener } = chat;
  await engine.start();
  await using after = openChat(engine.client, agentId, { after: listener.sequence, listener });
  await after.end();
  expect(listener.texts.map(numbersIn)).toEqual([numbersTo(200)]);
  expect(listener.restarts).toBe(0);
  // A handed over answer is no recovery, and no event of its own.
  expect((await historyOf(engine.client, agentId)).length).toBe(3);
  expect(await engine.stop()).toBe(0);
});

test("a second engine on the same folder is refused with one line", async () => {
  await using engine = await openEngine();
  const second = await runBinary(engine.folder, ["serve"]);
  expect(second.exitCode).toBe(1);
  expect(second.stderr.trim().split("\n").length).toBe(1);
  expect(second.stderr).toContain("data");
  // The first one does not notice.
  const agentId = await createAgent(engine.client);
  expect((await engine.client.getAgent({ agentId })).status).toBe("waiting_for_input");
});

test("a start that cannot be is refused with one line that names the setting", async () => {
  const folder = await makeFolder();
  const file = join(folder, "file");
  await Bun.write(file, "no folder");
  const refused = {
    HOST: "0.0.0.0",
    GRPC_PORT: "http",
    LLM_PROVIDER: "oracle",
    LEASE_TTL_MS: "-1",
    TLS_CERT: "cert.pem",
    API_KEY: ",",
    DB_PATH: file,
    TOOLS_PATH: file,
  };
  const ends = Object.entries(refused).map(async ([name, value]) => {
    const { exitCode, stderr } = await runBinary(folder, [], { [name]: value });
    expect(stderr.trim().split("\n").length).toBe(1);
    expect(stderr).toContain(name);
    expect(exitCode).toBe(2);
  });
  await Promise.all(ends);
  const flag = await runBinary(folder, ["--grpc-port", "70000"]);
  expect(flag.stderr).toContain("GRPC_PORT");
  expect((await runBinary(folder, ["--no-such-flag"])).exitCode).toBe(2);
  expect((await runBinary(folder, ["no-such-command"])).exitCode).toBe(2);
  expect((await runBinary(folder, ["--version"])).stdout).toMatch(/^engram \d+\.\d+\.\d+\n$/);
  expect((await runBinary(folder, ["--help"])).stdout).toContain("GRPC_PORT");
  await rm(folder, { recursive: true });
});

test("a bound address beyond loopback serves who has the key, and only them", async () => {
  await using engine = await openEngine({ HOST: "0.0.0.0", API_KEY: "first,second" });
  const agentId = await createAgent(engine.client);
  expect(agentId).not.toBe("");
  const url = `http://127.0.0.1:${new URL(engine.url).port}`;
  const get = (...headers: string[]) =>
    curl(
      `${url}/engram.api.v1.AgentService/GetAgent`,
      ...headers.flatMap((header) => ["--header", header]),
      ...json,
      JSON.stringify({ agentId }),
    );
  expect((await get("x-api-key: second")).status).toBe(200);
  expect((await get("authorization: Bearer first")).status).toBe(200);
  for (const headers of [[], ["x-api-key: third"], ["authorization: Bearer third"]]) {
    const { status, body } = await get(...headers);
    expect(status).toBe(401);
    expect(JSON.parse(body)).toMatchObject({ code: "unauthenticated" });
    expect(body).toContain("x-api-key");
    expect(body).not.toContain("third");
  }
  expect(JSON.stringify(engine.logged)).not.toMatch(/third|second/);
  expect((await curl(`${url}/healthz`)).status).toBe(200);
  expect((await curl(`${url}/readyz`)).status).toBe(200);
});

test("a start without a tools folder is told of, until there is one", async () => {
  await using engine = await openEngine({ TOOLS_PATH: "later" });
  const warned = engine.logged.filter(({ level }) => level === "warn");
  expect(warned.map(({ message }) => message).join()).toContain("TOOLS_PATH is later");
  expect((await curl(`${engine.url}/readyz`)).body).toContain("TOOLS_PATH is later");
  await mkdir(join(engine.folder, "later"));
  const { status, body } = await curl(`${engine.url}/readyz`);
  expect({ status, body }).toEqual({
    status: 200,
    body: expect.not.stringContaining("TOOLS_PATH"),
  });
});

test("a call that does not end holds the exit no longer than promised, and a second signal not at all", async () => {
  for (const [signals, exitCode] of [
    [1, 0],
    [2, 143],
  ] as const) {
    await using engine = await openEngine();
    const { port } = new URL(engine.url);
    // Half of a request: the call has begun, and its end does not come.
    const socket = connect(Number(port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(
      "POST /engram.api.v1.AgentService/GetAgent HTTP/1.1\r\nHost: a\r\n" +
        "Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n{",
    );
    await new Promise((resolve) => socket.once("data", resolve));
    const ended = engine.stop();
    if (signals === 2) {
      while (!engine.logged.some(({ message }) => message === "stopping")) await Bun.sleep(5);
      process.kill(engine.pid, "SIGTERM");
    }
    const startMs = performance.now();
    expect(await ended).toBe(exitCode);
    // What the contract promises, whatever the machine does.
    if (signals === 1) expect(performance.now() - startMs).toBeLessThan(10_000);
    socket.destroy();
  }
});

test("SIGHUP takes renewed TLS files; the process and what is open go on", async () => {
  const tls = makeCertificate();
  const renewed = makeCertificate();
  await using engine = await openEngine({ TLS_CERT: tls.certPath, TLS_KEY: tls.keyPath });
  const healthz = (trusted: string) =>
    curl(`${engine.url}/healthz`, "--cacert", trusted).then(({ status }) => status);
  expect(engine.url).toStartWith("https://");
  expect(await healthz(tls.certPath)).toBe(200);
  await copyFile(renewed.certPath, tls.certPath);
  await copyFile(renewed.keyPath, tls.keyPath);
  expect(await healthz(renewed.certPath)).toBe(0);
  process.kill(engine.pid, "SIGHUP");
  while ((await healthz(renewed.certPath)) !== 200) await Bun.sleep(20);
  expect(engine.logged.map(({ message }) => message)).toContain(
    "TLS_CERT and TLS_KEY were read again",
  );
  expect(await engine.stop()).toBe(0);
});

test("an engine without workers takes what is said, and one with workers answers it", async () => {
  await using engine = await openEngine({ WORKER_CONCURRENCY: "0" });
  const agentId = await createAgent(engine.client);
  const sent = engine.client.sendMessage({
    agentId,
    userInput: { content: "say hello" },
    messageId: "m1",
    timeout: { nanos: 50_000_000 },
  });
  expect((await refusalOf(sent)).code).toBe(Code.DeadlineExceeded);
  expect((await engine.client.getAgent({ agentId })).status).toBe("waiting_for_step");
  expect(await engine.stop()).toBe(0);
  await engine.start({});
  const answer = await engine.client.sendMessage({
    agentId,
    userInput: { content: "say hello" },
    messageId: "m1",
  });
  expect(answer.text).toBe("hello");
  expect((await talk(engine.client, agentId, "say bye")).length).toBeGreaterThan(1);
});

test("the demo holds what it claims, and says so", async () => {
  const folder = await makeFolder();
  const { exitCode, stdout } = await runBinary(folder, ["demo"]);
  expect(stdout).toMatch(/All \d+ checks hold/);
  expect(stdout).not.toContain("✗");
  expect(exitCode).toBe(0);
  await rm(folder, { recursive: true });
});
