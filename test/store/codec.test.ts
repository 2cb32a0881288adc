import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { EventType } from "../../src/agent/event.ts";
import {
  chainHash,
  decodeCall,
  decodeEvent,
  encodeEvent,
  genesisHash,
} from "../../src/store/codec.ts";
import { anyCall, anyEventOf } from "../support/events.ts";
import { seeded } from "../support/seed.ts";

const corrupt = expect.objectContaining({ code: "corrupt" });
const types = Object.keys(anyEventOf) as EventType[];

describe.each(types)("%s", (type) => {
  test("decodes to what was encoded, in one line", () => {
    fc.assert(
      fc.property(anyEventOf[type], (event) => {
        const body = encodeEvent(event);
        expect(decodeEvent(body)).toEqual(event);
        expect(body).not.toContain("\n");
      }),
      seeded(50),
    );
  });
  test("is corrupt where it is cut anywhere", () => {
    fc.assert(
      fc.property(anyEventOf[type], (event) => {
        const body = encodeEvent(event);
        for (let length = 0; length < body.length; length++)
          expect(() => decodeEvent(body.slice(0, length))).toThrow(corrupt);
      }),
      seeded(5),
    );
  });
});

test("JSON that is no event, or not all of one, is corrupt", () => {
  const strangers = ["null", "[]", "7", '"AgentPaused"', "{}", '{"type":"Unheard"}', '{"type":7}'];
  const incomplete = [
    '{"type":"AgentPaused","key":null}',
    '{"type":"MessageReceived","content":7,"attachments":[]}',
    '{"type":"ToolConfirmed","callId":"c","approve":"yes"}',
    '{"type":"toString"}',
    '{"type":"__proto__"}',
  ];
  for (const body of [...strangers, ...incomplete])
    expect(() => decodeEvent(body)).toThrow(corrupt);
});

test("a model call decodes to what was encoded, else is corrupt", () => {
  fc.assert(
    fc.property(anyCall, (call) => {
      const body = JSON.stringify(call);
      expect(decodeCall(body)).toEqual(call);
      expect(() => decodeCall(body.slice(0, -1))).toThrow(corrupt);
    }),
    seeded(50),
  );
  expect(() => decodeCall("{}")).toThrow(corrupt);
});

test("the hash depends on the agent, the predecessor, the place, the time and the body", () => {
  const genesis = genesisHash("a");
  const hashes = [
    chainHash(genesis, 1, 5, "{}"),
    chainHash(genesisHash("b"), 1, 5, "{}"),
    chainHash(genesis, 2, 5, "{}"),
    chainHash(genesis, 1, 6, "{}"),
    chainHash(genesis, 1, 5, "{ }"),
    chainHash(genesis, 15, 5, "{}"),
    chainHash(genesis, 1, 55, "{}"),
  ];
  expect(new Set(hashes.map((hash) => Buffer.from(hash).toString("hex"))).size).toBe(7);
  expect(Buffer.from(hashes[0]!)).toEqual(Buffer.from(chainHash(genesis, 1, 5, "{}")));
});

// Stores that exist must stay readable: this is what format 1 computes.
test("the hash of format 1 stays what it is", () => {
  const hash = chainHash(genesisHash("agent"), 1, 1_700_000_000_000, '{"type":"AgentResumed"}');
  expect(Buffer.from(hash).toString("hex")).toBe(
    "a3b1b72347d275e49b1b25932befe2adbdb8516e768dc62b9ace44e3253cb994",
  );
});
