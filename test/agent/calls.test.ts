import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { makeCallFinder, sendingsOf } from "../../src/agent/calls.ts";
import { condensingPrompt } from "../../src/agent/context.ts";
import type { Event } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import type { ModelRequest } from "../../src/agent/request.ts";
import { turnLimits } from "../../src/limits.ts";
import type { Draft } from "../../src/store/store.ts";
import {
  born,
  callAfter,
  logged,
  paused,
  resumed,
  said,
  spoke,
  turnFailed,
} from "../support/events.ts";
import { anyHistory } from "../support/histories.ts";
import { rebuilt } from "../support/rebuilt.ts";
import { seeded } from "../support/seed.ts";

/** How the requests end: with an answer begun, or with what was asked. */
const endings = (requests: readonly (ModelRequest | null)[]): readonly string[] =>
  requests.map((request) => request?.messages.at(-1)?.content ?? "gone");

const ofLog = (...events: readonly Event[]): readonly string[] =>
  endings(rebuilt(logged([born(), ...events])));

const asked = "[2026-01-31T12:00:01Z] (now: 2026-01-31T12:00:01Z) count to three";
const text = "One, two, three.";
/** Knew the goal alone; was gone on with behind events 3 and 5. */
const call = callAfter(1, {
  continuedLength: 8,
  continuations: [
    { length: 4, headSequence: 3 },
    { length: 8, headSequence: 5 },
  ],
});
const head = { call, usage: { promptTokens: 7, completionTokens: 3 } };
const failed: Event = { type: "ModelFailed", call, code: "MODEL_ERROR", message: "", retryAtMs: 0 };

describe("the requests of a log", () => {
  test("are those that were sent, in their order, whatever an agent went through", () => {
    fc.assert(
      fc.property(anyHistory, ({ log, calls }) => {
        expect(rebuilt(log).map((request) => request?.messages)).toEqual(
          calls.map(({ messages }) => messages),
        );
      }),
      seeded(200),
    );
  });

  test("are a call's first and those by which it was gone on with", () => {
    const stops = [paused(), resumed, paused(), resumed];
    const reply: Event = { type: "ModelSpoke", head, content: text };
    expect(ofLog(...stops, reply)).toEqual([asked, "One,", "One, two"]);
    expect(
      ofLog(...stops, { type: "ModelThought", head, content: "hm" }, { ...reply, head: null }),
    ).toEqual([asked, "One,", "One, two"]);
  });

  test("tell what the agent was at that time", () => {
    const { type: _type, parent: _parent, ...spec } = born();
    const edit: Event = {
      type: "AgentEdited",
      key: null,
      description: "",
      spec: { ...spec, model: "other" },
    };
    const log = logged([
      born(),
      paused(),
      resumed,
      edit,
      said("more"),
      { type: "ModelSpoke", head, content: text },
    ]);
    expect(rebuilt(log).map((request) => request?.model)).toEqual([
      "scripted",
      "scripted",
      "other",
    ]);
  });

  test("of an answer that was given up are told, but for what old logs do not have", () => {
    const abandoned: Event = { type: "AnswerAbandoned", call, reason: "", text };
    expect(ofLog(paused(), resumed, paused(), resumed, abandoned)).toEqual([
      asked,
      "One,",
      "One, two",
    ]);
    const old: Event = { type: "AnswerAbandoned", call, reason: "" };
    expect(ofLog(paused(), resumed, paused(), resumed, old)).toEqual([asked, "gone", "gone"]);
    expect(ofLog(paused(), resumed, paused(), resumed, failed, spoke("anew", 6)).length).toBe(4);
  });

  test("come once, though several events tell of one call, and include those that a later event does not tell of", () => {
    const later = { ...call, continuations: [{ length: 8, headSequence: 7 }] };
    const reply: Event = { type: "ModelSpoke", head: { ...head, call: later }, content: text };
    const stops = [paused(), resumed, paused(), resumed];
    expect(ofLog(...stops, failed, failed, reply)).toEqual([asked, "One,", "One, two", "One, two"]);
    const ended: Event = {
      ...turnFailed,
      type: "TurnFailed",
      code: "MODEL_ERROR",
      message: "",
      call,
    };
    expect(ofLog(...stops, ended)).toEqual([asked, "gone", "gone"]);
  });

  test("of a call in flight are known by its draft, unless the log has gone past it", () => {
    const pieces = [{ kind: "text" as const, offset: 0, content: text }];
    const draft: Draft = { call, pieces, piecesTotal: 1 };
    const stops = [paused(), resumed, paused(), resumed];
    const log = logged([born(), ...stops]);
    expect(endings(rebuilt(log, draft))).toEqual([asked, "One,", "One, two"]);
    expect(endings(rebuilt(logged([born(), ...stops, failed]), draft))).toEqual([
      asked,
      "One,",
      "One, two",
    ]);
    const over = logged([born(), ...stops, { type: "ModelSpoke", head, content: text }]);
    expect(endings(rebuilt(over, draft))).toEqual([asked, "One,", "One, two"]);
    const past = logged([born(), spoke("three", 1), said("more"), spoke("four", 3)]);
    expect(rebuilt(past, draft).length).toBe(2);
  });

  test("are found in one go, however many a log says there were", () => {
    const { continuationsKept } = turnLimits;
    const finder = makeCallFinder();
    const events = 3_000;
    for (let n = 0; n < events; n++) {
      const continuations = Array.from({ length: continuationsKept }, (_, length) => ({
        length,
        headSequence: n + 2,
      }));
      finder.take({
        sequence: n + 3,
        atMs: 0,
        event: { ...failed, call: { ...call, continuations } },
      });
    }
    const sendings = finder.end(null).flatMap(sendingsOf);
    expect(sendings.length).toBe(1 + events * continuationsKept);
    expect(sendings.at(-1)).toMatchObject({ headSequence: 3_001, outcomeSequence: 3_002 });
  });

  test("of old logs are as far as they tell", () => {
    const old = callAfter(1, { continuedLength: 4 });
    const reply: Event = { type: "ModelSpoke", head: { ...head, call: old }, content: text };
    expect(ofLog(paused(), resumed, reply)).toEqual([asked, "One,"]);
    const condensed: Event = {
      type: "ContextCondensed",
      items: 1,
      summary: "s",
      usage: head.usage,
    };
    const [, second] = rebuilt(logged([born(), spoke("three", 1), condensed]));
    expect(second?.messages).toEqual(
      condensingPrompt(fold(logged([born(), spoke("three", 1)])), 1),
    );
  });
});
