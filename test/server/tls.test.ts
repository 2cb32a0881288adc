import { expect, test } from "bun:test";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
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

test("renewed files are for new connections; those that cannot be used change nothing", async () => {
  const { certPath, keyPath } = makeCertificate();
  const renewed = makeCertificate();
  await using server = await openTestServer({ tls: { certPath, keyPath } });
  const reached = async (trusted: string): Promise<number> =>
    (await curl(`${server.url}/healthz`, "--cacert", trusted)).status;
  const kept = `${certPath}.kept`;
  copyFileSync(certPath, kept);
  expect(await reached(kept)).toBe(200);

  const open = connectTls({ port: server.port, ca: readFileSync(kept) });
  await new Promise((resolve) => open.once("secureConnect", resolve));
  copyFileSync(renewed.certPath, certPath);
  const failed = server.renewTls();
  expect(failed).rejects.toMatchObject({ code: "invalid_argument" });
  await failed.catch(() => {});
  expect(await reached(kept)).toBe(200);

  copyFileSync(renewed.keyPath, keyPath);
  await server.renewTls();
  expect(await reached(renewed.certPath)).toBe(200);
  expect(await reached(kept)).toBe(0);
  const answer = new Promise<string>((resolve) =>
    open.once("data", (chunk: Buffer) => resolve(chunk.toString())),
  );
  open.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  expect(await answer).toStartWith("HTTP/1.1 200");
  open.destroy();
});
