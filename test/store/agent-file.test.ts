import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Event } from "../../src/agent/event.ts";
import {
  type FileHead,
  type FileLine,
  makeFileReader,
  makeFileWriter,
} from "../../src/store/agent-file.ts";
import { chainHash, encodeEvent, genesisHash } from "../../src/store/codec.ts";
import type { Draft, DraftPiece } from "../../src/store/store.ts";
import { anyCall, anyEventOf, anyText, born, callAfter, said } from "../support/events.ts";
import { seeded } from "../support/seed.ts";

const agentId = "01a20540-b5c3-701e-b768-b26a82f3caff";
const plainHead: FileHead = { agentId, request: null, workedMs: 0 };
type Parts = {
  readonly head?: FileHead;
  readonly bodies: readonly string[];
  readonly draft?: Pick<Draft, "call" | "pieces"> | null;
};

const atOf = (sequence: number): number => 1_000 * sequence;

function fileOf({ head = plainHead, bodies, draft = null }: Parts): readonly string[] {
  const writer = makeFileWriter(head);
  const lines = [writer.head(0)];
  let hash = genesisHash(head.agentId);
  for (const [index, body] of bodies.entries()) {
    const sequence = index + 1;
    hash = chainHash(hash, sequence, atOf(sequence), body);
    lines.push(writer.event({ sequence, atMs: atOf(sequence), body, hash: hash.toHex() }));
  }
  if (draft !== null) lines.push(...writer.draft(draft));
  return [...lines, writer.end()].map((line) => {
    expect(line.indexOf("\n")).toBe(line.length - 1);
    return line.slice(0, -1);
  });
}

function read(lines: readonly string[]): readonly FileLine[] {
  const reader = makeFileReader();
  const found = lines.map((line) => reader.take(line));
  reader.end();
  return found;
}

function faultOf(lines: readonly string[]): string {
  try {
    read(lines);
  } catch (error) {
    expect(error).toMatchObject({ code: "invalid_argument" });
    const { message } = error as Error;
    expect(message).not.toContain("\n");
    return message;
  }
  throw new Error("the file was read");
}

const text = (offset: number, content: string): DraftPiece => ({ kind: "text", offset, content });

describe("a file", () => {
  test("reads as what was written, whatever the events hold", () => {
    const anyEvent = fc.oneof(...Object.values(anyEventOf));
    fc.assert(
      fc.property(fc.array(anyEvent, { minLength: 1, maxLength: 6 }), (events) => {
        const found = read(fileOf({ bodies: events.map(encodeEvent) }));
        const expected = events.map((event, index) => ({
          kind: "event",
          logged: { sequence: index + 1, atMs: atOf(index + 1), event },
        }));
        expect(found.slice(1, -1)).toEqual(expected as never);
        expect(found[0]).toEqual({ kind: "head", head: plainHead });
      }),
      seeded(200),
    );
  });
  test("reads with its request id, its work and its draft", () => {
    const head = { agentId, request: { requestId: "r\n1", digest: "d" }, workedMs: 12.25 };
    fc.assert(
      fc.property(anyCall, fc.array(anyText.filter((it) => it !== "")), (any, contents) => {
        const call = { ...any, afterSequence: 1 };
        let offset = 0;
        const pieces = contents.map((content) => {
          const piece = text(offset, content);
          offset += Buffer.byteLength(content);
          return piece;
        });
        const found = read(
          fileOf({ head, bodies: [encodeEvent(born())], draft: { call, pieces } }),
        );
        expect(found[0]).toEqual({ kind: "head", head });
        expect(found.slice(2, -1)).toEqual([
          { kind: "draft", call },
          ...pieces.map((piece) => ({ kind: "piece", piece }) as const),
        ]);
      }),
      seeded(50),
    );
  });
  test("keeps each byte of an event that JSON could lose", () => {
    const bodies = [
      '{"b":1,"10":2,"2":3}',
      '{"__proto__":{"a":1},"constructor":null}',
      '{"s":"\\ud83d","n":-0.5,"big":1e+300,"zero":0,"e":5e-324}',
      '{"s":"\\u0000\\u2028\u2028\u007f\\\\\\"\u00e9\ud83d\ude42"}',
      '{"":[[],{},null,true]}',
    ].map((parameters) =>
      encodeEvent(born({ responseSchema: JSON.parse(parameters) as never }, { goal: parameters })),
    );
    const found = read(fileOf({ bodies }));
    const events = found.flatMap((line) => (line.kind === "event" ? [line.logged.event] : []));
    expect(events.map(encodeEvent)).toEqual(bodies);
  });
});

const events: readonly Event[] = [born(), said("one"), said("two")];
const bodies = events.map(encodeEvent);
const draft = { call: callAfter(3), pieces: [text(0, "grün"), text(5, "er"), text(7, "!")] };
const whole = fileOf({ bodies, draft });
const changed = (at: number, line: (before: string) => string): readonly string[] =>
  whole.map((before, index) => (index === at ? line(before) : before));
const without = (...gone: readonly number[]): readonly string[] =>
  whole.filter((_, index) => !gone.includes(index));
const replaced =
  (from: string, to: string) =>
  (before: string): string => {
    expect(before).toContain(from);
    return before.replace(from, to);
  };
/** The file with another event in third place, and all hashes as they have to be. */
const with3rd = (body: string): readonly string[] =>
  fileOf({ bodies: [...bodies.slice(0, 2), body] });

describe("a file is refused, by the line that is wrong, where", () => {
  const cases: readonly (readonly [string, () => readonly string[], string])[] = [
    ["it is empty", () => [], "the file is empty"],
    ["it is another", () => ["{}"], "line 1 of the file is wrong: it is not the head"],
    ["it is no JSON", () => ["PK"], "line 1 of the file is wrong: it is no JSON"],
    ["a line is empty", () => changed(2, () => ""), "line 3 of the file is wrong: it is empty"],
    [
      "it is of a newer engine",
      () => changed(0, replaced('"version":1', '"version":2')),
      "line 1 of the file is wrong: the file has version 2, this engine knows versions up to 1",
    ],
    [
      "its id is no agent's",
      () => changed(0, replaced(agentId, "../x")),
      "line 1 of the file is wrong: its agentId",
    ],
    [
      "its id is another agent's",
      () => changed(0, replaced("caff", "cafe")),
      "line 2 of the file is wrong: event 1 was changed, or is not of this agent",
    ],
    [
      "an event was changed",
      () => changed(2, replaced("one", "One")),
      "line 3 of the file is wrong: event 2 was changed",
    ],
    [
      "an event's time was changed",
      () => changed(2, replaced('"at":2000', '"at":2001')),
      "line 3 of the file is wrong: event 2 was changed",
    ],
    [
      "a hash was changed",
      () => changed(2, (line) => line.replace(/"hash":"../, '"hash":"zz')),
      "line 3 of the file is wrong: event 2 was changed",
    ],
    [
      "an event is missing",
      () => without(2),
      "line 3 of the file is wrong: it is event 3 where event 2",
    ],
    ["an event stands twice", () => [...whole.slice(0, 3), ...whole.slice(2)], "line 4 of the"],
    ["its first event is missing", () => without(1), "line 2 of the file is wrong: it is event 2"],
    [
      "it has no events",
      () => without(1, 2, 3, 4, 5, 6, 7),
      "line 2 of the file is wrong: the log",
    ],
    [
      "an event is of no known type",
      () => with3rd('{"type":"Unheard"}'),
      "line 4 of the file is wrong: a stored event is not one this version knows",
    ],
    [
      "an event is not whole",
      () => with3rd('{"type":"AgentPaused","key":{},"reason":""}'),
      "line 4 of the file is wrong: key.messageId of event 3",
    ],
    [
      "its draft follows what is not there",
      () => fileOf({ bodies, draft: { ...draft, call: callAfter(4) } }),
      "line 5 of the file is wrong: its draft follows event 4",
    ],
    [
      "a model call is not whole",
      () => changed(4, replaced('"tools":null', '"tools":7')),
      "line 5 of the file is wrong: call.tools of its draft",
    ],
    [
      "a piece is missing",
      () => without(6),
      "line 7 of the file is wrong: its piece does not join",
    ],
    ["the last piece is missing", () => without(7), "line 8 of the file is wrong: 1 pieces"],
    [
      "the draft's beginning is missing",
      () => without(4),
      "line 5 of the file is wrong: it is a piece",
    ],
    [
      "an event stands behind the draft",
      () => [...whole.slice(0, 5), whole[3] ?? "", ...whole.slice(5)],
      "line 6 of the file is wrong: it is neither a piece",
    ],
    [
      "there is a piece too many",
      () => [
        ...whole.slice(0, 8),
        '{"piece":{"kind":"text","offset":8,"content":"x"}}',
        whole[8] ?? "",
      ],
      "line 9 of the file is wrong: it is one piece more than the draft's 3",
    ],
    [
      "a piece was changed",
      () => changed(6, replaced("er", "es")),
      "line 9 of the file is wrong: its digest is another",
    ],
    [
      "the draft is missing",
      () => without(4, 5, 6, 7),
      "line 5 of the file is wrong: its digest is another",
    ],
    [
      "the request id was changed",
      () => changed(0, replaced('"request":null', '"request":{"requestId":"r","digest":"d"}')),
      "line 9 of the file is wrong: its digest is another",
    ],
    [
      "its end is another's",
      () => changed(8, replaced('"sequence":3', '"sequence":2')),
      "line 9 of the file is wrong: it is not the end of a log with 3 events",
    ],
    [
      "something stands behind its end",
      () => [...whole, "{}"],
      "line 10 of the file is wrong: the closing",
    ],
    [
      "it was cut off",
      () => whole.slice(0, 3),
      "the file ends with line 3, before its closing line",
    ],
  ];
  test.each(cases)("%s", (_, lines, fault) => {
    expect(faultOf(lines())).toStartWith(fault);
  });
  test("it was cut at any byte", () => {
    const file = whole.join("\n");
    for (let length = 0; length < file.length; length++) {
      const cut = file.slice(0, length);
      expect(faultOf(cut === "" ? [] : cut.split("\n"))).not.toBe("");
    }
  });
});

test("a file but for the time of its export is the same each time", () => {
  const writer = makeFileWriter(plainHead);
  expect(writer.head(1_000)).toBe(
    `{"format":"engram agent","version":1,"agentId":"${agentId}","request":null,"workedMs":0,"exportedAt":"1970-01-01T00:00:01.000Z"}\n`,
  );
  const early = makeFileWriter(plainHead);
  early.head(5);
  expect(early.end()).toBe(writer.end());
});
