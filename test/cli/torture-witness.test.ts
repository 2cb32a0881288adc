import { describe, expect, test } from "bun:test";
import { makeWitness, type Manner, type Witness } from "../../src/cli/torture/witness.ts";
import type { ServerMessage } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { at, delta, input, status, text } from "../support/transcripts.ts";

const continuing: Manner = { anew: false, thinks: false };

/** What a client saw on streams that each began behind an event. */
const seen = (
  streams: readonly (readonly [after: number, messages: readonly ServerMessage[]])[],
  manner = continuing,
): Witness => {
  const witness = makeWitness(manner);
  for (const [after, messages] of streams) {
    witness.attach(after);
    for (const message of messages) witness.hear(message);
  }
  return witness;
};
const rules = ({ violations }: Witness): readonly string[] => violations.map(({ rule }) => rule);

const anew = (sequence: number): ServerMessage =>
  at(sequence, { case: "observation", value: { content: "answered anew: it cannot continue" } });
const thoughtDelta = (sequence: number, offset: number, content: string): ServerMessage =>
  at(sequence, { case: "thoughtDelta", value: { content, offset: BigInt(offset) } });
const thought = (sequence: number, content: string): ServerMessage =>
  at(sequence, { case: "thought", value: { content } });

describe("nothing is wrong with", () => {
  test("an answer in pieces", () => {
    const witness = seen([
      [1, [status(2, "waiting"), delta(2, 0, "hel"), delta(2, 3, "lo"), text(3, "hello")]],
    ]);
    expect(rules(witness)).toEqual([]);
    expect(witness.counts).toEqual({ events: 2, deltas: 2, bytes: 5, begunAnew: 0 });
    expect(witness.sequence).toBe(3);
    expect(witness.unfinished).toBe("");
  });

  test("an answer that goes on after a broken stream, given from its first byte on", () => {
    const witness = seen([
      [1, [input(2, "x"), delta(2, 0, "grü"), delta(2, 4, "ß")]],
      [2, [delta(2, 0, "grüß dich"), text(3, "grüß dich")]],
    ]);
    expect(rules(witness)).toEqual([]);
  });

  test("an answer that became whole while nobody listened", () => {
    const witness = seen([
      [1, [input(2, "x"), delta(2, 0, "hel")]],
      [2, [text(3, "hello"), input(4, "y"), delta(4, 0, "fine")]],
    ]);
    expect(rules(witness)).toEqual([]);
    expect(witness.shownBytes).toBe(4);
  });

  test("events that are read again, and late acknowledgements", () => {
    const witness = seen([
      [1, [input(2, "x"), text(3, "hello")]],
      [1, [input(2, "x"), text(3, "hello"), status(2, "waiting")]],
    ]);
    expect(rules(witness)).toEqual([]);
    expect(witness.counts.events).toBe(2);
  });

  test("an acknowledgement that stands for its event, before or after the event was seen", () => {
    const first = seen([
      [1, [status(2, "waiting")]],
      [1, [input(2, "x")]],
    ]);
    expect(rules(first)).toEqual([]);
    expect(first.events.get(2)).toEqual(input(2, "x"));
    const second = seen([
      [1, [input(2, "x")]],
      [1, [status(2, "waiting")]],
    ]);
    expect(second.events.get(2)).toEqual(input(2, "x"));
  });

  test("an answer begun anew with its observation, by a model that does so", () => {
    const pieces = [delta(2, 0, "hel"), anew(3), delta(3, 0, "good"), text(4, "good")];
    const witness = seen([[1, [input(2, "x"), ...pieces]]], { anew: true, thinks: false });
    expect(rules(witness)).toEqual([]);
    expect(witness.counts.begunAnew).toBe(1);
  });

  test("thinking begun anew by any model, before the answer's first word", () => {
    const pieces = [thoughtDelta(2, 0, "hm"), anew(3), thoughtDelta(3, 0, "ah"), thought(4, "ah")];
    expect(rules(seen([[1, [input(2, "x"), ...pieces]]], { anew: false, thinks: true }))).toEqual(
      [],
    );
  });
});

const broken: Record<string, readonly [rule: string, witness: () => Witness]> = {
  "a lost event": ["gap", () => seen([[1, [input(2, "x"), text(4, "hello")]]])],
  "an event lost between two streams": [
    "gap",
    () =>
      seen([
        [1, [input(2, "x")]],
        [2, [text(4, "a")]],
      ]),
  ],
  "an event that comes twice": [
    "doubled event",
    () => seen([[1, [input(2, "x"), text(3, "a"), text(3, "a")]]]),
  ],
  "an event out of order": ["gap", () => seen([[1, [text(3, "a"), input(2, "x")]]])],
  "another content at a place": [
    "changed event",
    () =>
      seen([
        [1, [input(2, "x")]],
        [1, [input(2, "y")]],
      ]),
  ],
  "another time at a place": [
    "changed event",
    () =>
      seen([
        [1, [input(2, "x")]],
        [1, [{ ...input(2, "x"), ...at(2, input(2, "x").payload, 21) }]],
      ]),
  ],
  "a doubled delta": [
    "doubled bytes",
    () => seen([[1, [input(2, "x"), delta(2, 0, "a"), delta(2, 0, "a")]]]),
  ],
  "a delta left out": [
    "missing bytes",
    () => seen([[1, [input(2, "x"), delta(2, 0, "a"), delta(2, 2, "c")]]]),
  ],
  "an answer that is not given from its first byte on": [
    "missing bytes",
    () => seen([[1, [input(2, "x"), delta(2, 3, "lo")]]]),
  ],
  "an empty delta": ["empty piece", () => seen([[1, [input(2, "x"), delta(2, 0, "")]]])],
  "other bytes where some were shown": [
    "taken back",
    () =>
      seen([
        [1, [input(2, "x"), delta(2, 0, "hello")]],
        [2, [delta(2, 0, "help")]],
      ]),
  ],
  "a text without what was shown": [
    "taken back",
    () =>
      seen([
        [1, [input(2, "x"), delta(2, 0, "hello")]],
        [2, [text(3, "hi")]],
      ]),
  ],
  "a text that is longer than its pieces": [
    "missing bytes",
    () => seen([[1, [input(2, "x"), delta(2, 0, "hello"), text(3, "hello you")]]]),
  ],
  "an answer begun anew by a model that continues": [
    "taken back",
    () => seen([[1, [input(2, "x"), anew(3)]]]),
  ],
  "a shown answer begun anew, though the model thinks": [
    "taken back",
    () => seen([[1, [input(2, "x"), delta(2, 0, "a"), anew(3)]]], { anew: false, thinks: true }),
  ],
  "a delta behind another event than it says": [
    "misplaced piece",
    () => seen([[1, [input(2, "x"), delta(1, 0, "a")]]]),
  ],
};

test.each(Object.entries(broken))("%s is named", (_, [rule, witness]) => {
  expect(rules(witness())).toContain(rule);
});
