import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { serverLimits } from "../../src/limits.ts";
import { makeCertificate } from "../support/certificate.ts";
import { curl, json } from "../support/curl.ts";
import { makeManualClock } from "../support/manual-clock.ts";
import { runPython } from "../support/python.ts";
import { openTestServer } from "../support/server.ts";

const tls = makeCertificate();
const trust = ["--cacert", tls.certPath];

test("curl gets both versions by ALPN, and HTTP/1.1 without it", async () => {
  await using server = await openTestServer({ tls });
  expect(server.url).toStartWith("https://");
  const url = `${server.url}/engram.api.v1.AgentService/GetAgent`;
  for (const [flag, httpVersion] of [
    ["--http2", "HTTP/2"],
    ["--http1.1", "HTTP/1.1"],
    ["--no-alpn", "HTTP/1.1"],
  ] as const) {
    const answer = await curl(url, flag, ...trust, ...json, '{"agentId":"a"}');
    expect(answer).toMatchObject({ httpVersion, status: 200, body: '{"agentId":"a"}' });
  }
});

test("grpcio speaks to it", async () => {
  await using server = await openTestServer({ tls });
  const answers = await runPython("agents.py", [server.target, tls.certPath]);
  expect(answers).toMatchObject({ engram: { unary: "tidy up" }, dura: { get: "a" } });
}, 180_000);

test("a client in plain text is closed", async () => {
  await using server = await openTestServer({ tls });
  const plain = await curl(`http://127.0.0.1:${server.port}/healthz`);
  expect(plain.exitCode).not.toBe(0);
  expect(plain.status).toBe(0);
  expect((await curl(`${server.url}/healthz`, ...trust)).status).toBe(200);
});

test("a handshake that does not come is cut off", async () => {
  const clock = makeManualClock();
  await using server = await openTestServer({ tls, clock });
  const socket = connect(server.port, "127.0.0.1");
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  // An answer elsewhere: by then the silent client has been accepted.
  expect((await curl(`${server.url}/healthz`, ...trust)).status).toBe(200);
  clock.advance(serverLimits.sniffMs + serverLimits.sweepIntervalMs);
  await closed;
});

test("files that are no pair are named", async () => {
  const broken = `${tls.certPath}.broken`;
  writeFileSync(broken, "no certificate");
  for (const [files, message] of [
    [{ ...tls, certPath: "/nowhere/cert.pem" }, "TLS_CERT cannot be read"],
    [{ ...tls, keyPath: "/nowhere/key.pem" }, "TLS_KEY cannot be read"],
    [{ ...tls, certPath: broken }, "no matching pair"],
    [{ ...tls, keyPath: makeCertificate().keyPath }, "no matching pair"],
  ] as const) {
    const failed = openTestServer({ tls: files });
    expect(failed).rejects.toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining(message),
    });
    await failed.catch(() => {});
  }
});
