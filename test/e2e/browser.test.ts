import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { openSite, type Site } from "../support/browser/browser.ts";
import { makeCertificate } from "../support/certificate.ts";
import { openEngine, type Settings } from "../support/engine-process.ts";
import { numbersTo } from "../support/numbered-words.ts";

setDefaultTimeout(60_000);

let site: Site;
beforeAll(async () => {
  site = await openSite();
});
afterAll(() => site[Symbol.dispose]());

const apiKey = "a key";
const keyWanted = {
  code: "Unauthenticated",
  message:
    "an API key is needed: send one of the server's keys as x-api-key or authorization: Bearer",
};
const words = numbersTo(20).join(" ");
const spoken = {
  created: { status: "waiting_for_input", metadata: { ключ: "värde" } },
  follow: {
    seen: ["1 status created", "1 heartbeat", "2 status user_input", `3 text ${words}`],
    left: "Canceled",
    answered: words,
  },
  history: ["2 status user_input", `3 text ${words}`],
  controlled: ["paused", "paused", "waiting_for_input"],
  pages: { sizes: [2], doubled: 0, missing: 0, repeated: true, newestFirst: true },
  refused: {
    unknown: { code: "NotFound", message: "no agent nobody-ü-€-😀" },
    argument: { code: "InvalidArgument", message: expect.stringContaining("goal") },
    impossible: { code: "FailedPrecondition", message: expect.stringContaining("retried") },
    stream: { code: "NotFound", message: "no agent nobody" },
    late: { code: "DeadlineExceeded", message: "the operation timed out" },
    noKey: keyWanted,
    noKeyStream: keyWanted,
  },
  // connect-web's own words: no request for it leaves the browser.
  chat: expect.stringContaining("does not support streaming"),
};

const tls = makeCertificate();
const ways: Readonly<Record<string, { settings: Settings; chattedByHand: unknown }>> = {
  "HTTP/1.1": {
    settings: {},
    chattedByHand: {
      status: 505,
      refusal: { code: "unimplemented", message: expect.stringContaining("SendMessage") },
    },
  },
  // Chat is refused over HTTP/1.1, so its answer shows that HTTP/2 was agreed on.
  "HTTP/2, by ALPN": {
    settings: { TLS_CERT: tls.certPath, TLS_KEY: tls.keyPath },
    chattedByHand: {
      status: 200,
      events: ["2 status waiting", "3 text hello over there"],
      joined: "hello over there",
    },
  },
};

test.each(Object.entries(ways))(
  "connect-web in Chromium calls the engine from another origin over %s",
  async (_, { settings, chattedByHand }) => {
    const known = { CORS_ORIGINS: site.origin, API_KEY: apiKey, HEARTBEAT_MS: "100" };
    await using engine = await openEngine({ ...known, ...settings });
    expect(await site.browse({ engineUrl: engine.url, apiKey, does: "speak" })).toEqual({
      said: {
        "gRPC-Web": spoken,
        "gRPC-Web with JSON": spoken,
        Connect: spoken,
        "Connect with JSON": spoken,
      },
      chattedByHand,
    });
  },
);

test("Chromium keeps a page of a foreign origin out, and what it sends blindly changes nothing", async () => {
  await using engine = await openEngine({ CORS_ORIGINS: "https://app.example", API_KEY: apiKey });
  const kept = "TypeError: Failed to fetch";
  const refusal = { code: "Unknown", message: "Failed to fetch" };
  expect(await site.browse({ engineUrl: engine.url, apiKey, does: "intrude" })).toEqual({
    call: refusal,
    stream: refusal,
    json: kept,
    simple: kept,
    // What a page is told of an answer that it may not read.
    blind: "opaque 0",
    probe: kept,
  });
  expect((await engine.client.listAgents({})).agents).toEqual([]);
});
