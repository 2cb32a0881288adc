import { expect, test } from "bun:test";
import {
  checkAgent,
  checkFork,
  type Saw,
  type Said,
  type Sent,
} from "../../src/cli/torture/check.ts";
import { readLog } from "../../src/cli/torture/log.ts";
import { makeWitness } from "../../src/cli/torture/witness.ts";
import type { ServerMessage } from "../../src/gen/engram/api/v1/agent_pb.ts";
import {
  agentOf,
  at,
  call,
  delta,
  input,
  oneTurn,
  result,
  sent,
  status,
  text,
} from "../support/transcripts.ts";

/** A client that heard these messages on one stream from the first event on. */
const saw = (messages: readonly ServerMessage[], ...said: readonly Sent[]): Saw => {
  const witness = makeWitness({ anew: false, thinks: false });
  witness.attach(1);
  for (const message of messages) witness.hear(message);
  return { witness, sent: said };
};
const all = (log: readonly ServerMessage[]): readonly ServerMessage[] => log.slice(1);
const hello = sent("say hello (1)", 2, { expects: "hello" });
const rules = (client: Saw, said: Said): readonly string[] =>
  checkAgent(client, said).map(({ rule }) => rule);
const ofLog = (log: readonly ServerMessage[], ...more: Parameters<typeof agentOf>[1][]): Said => ({
  log,
  agent: agentOf(log, ...more),
});

test("nothing is wrong with a whole turn, seen or only acknowledged", () => {
  const log = oneTurn();
  expect(rules(saw(all(log), hello), ofLog(log))).toEqual([]);
  const acknowledged = [status(2, "waiting"), delta(2, 0, "hello you"), text(3, "hello you")];
  expect(rules(saw(acknowledged, hello), ofLog(log))).toEqual([]);
  expect(rules(saw([], hello), ofLog(log))).toEqual([]);
});

test("nothing is wrong with a call, a pause, a rejection and a reply that thinks", () => {
  const log = [
    status(1, "created", "the goal"),
    input(2, "call clock (1)"),
    at(3, { case: "thought", value: { content: "a call" } }),
    at(4, call(4, true).payload, 30),
    status(5, "paused", "why"),
    status(6, "rejected", "call_4"),
    result(7, "call_4"),
    status(8, "resumed"),
    text(9, "It is noon."),
  ];
  const commands = [
    sent("call clock (1)", 2),
    sent("why", 5, { word: "paused" }),
    sent("call_4", 6, { word: "rejected" }),
    sent("", 8, { word: "resumed" }),
  ];
  const said = ofLog(log, { steps: 2, toolCalls: 1, fuel: 7 });
  expect(rules(saw(all(log), ...commands), said)).toEqual([]);
});

const log = oneTurn();
const twice = [...log, input(4, "say hello (1)"), text(5, "hello you")];
const oneCall = [...log.slice(0, 2), call(3), result(4, "call_3")];
const broken: Record<string, readonly [rule: string, client: Saw, said: Said]> = {
  "a seen event that is not in the log": [
    "lost event",
    saw(all(log), hello),
    ofLog(log.slice(0, 2)),
  ],
  "a seen event with another content": [
    "changed event",
    saw([log[1]!, text(3, "hello me")], hello),
    ofLog(log),
  ],
  "a seen event with another time": [
    "changed event",
    saw([log[1]!, at(3, log[2]!.payload, 31)], hello),
    ofLog(log),
  ],
  "an acknowledgement by an event that is no message": [
    "changed event",
    saw([log[1]!, status(3, "waiting")], hello),
    ofLog(log),
  ],
  "an event that was never shown, with later ones shown": [
    "gap",
    {
      witness: { ...saw(all(log)).witness, events: new Map([[3, log[2]!]]), sequence: 3 },
      sent: [hello],
    },
    ofLog(log),
  ],
  "a log with a gap": ["gap", saw([], hello), ofLog([log[0]!, log[1]!, text(4, "hello you")])],
  "an acknowledged message that is not in the log": [
    "lost message",
    saw(all(log), hello, sent("say bye (2)", 4)),
    ofLog(log),
  ],
  "a message that is in the log twice": [
    "doubled message",
    saw(all(twice), hello),
    ofLog(twice, { steps: 2 }),
  ],
  "a message that nobody sent": ["unknown message", saw(all(log)), ofLog(log)],
  "a message that is not where it was acknowledged": [
    "wrong place",
    saw(all(log), { ...hello, ackedAt: 3 }),
    ofLog(log),
  ],
  "a token that no event holds": [
    "taken back",
    saw([...all(log), delta(3, 0, "and")], hello),
    ofLog(log),
  ],
  "an answer with a byte left out": [
    "wrong answer",
    saw(all(log), { ...hello, expects: "hello to you" }),
    ofLog(log),
  ],
  "a second result of a call": [
    "result twice",
    saw([], hello),
    ofLog([...oneCall, result(5, "call_3"), text(6, "hello")], {
      steps: 2,
      toolCalls: 1,
      fuel: 14,
    }),
  ],
  "a result that nobody asked for": [
    "result without call",
    saw([], hello),
    ofLog([...log, result(4, "call_9")], { fuel: 7 }),
  ],
  "a call id that is used again": [
    "call twice",
    saw([], hello),
    ofLog([...oneCall, at(5, call(3).payload), result(6, "call_3")], {
      steps: 2,
      toolCalls: 2,
      fuel: 14,
    }),
  ],
  "a call without a result at rest": [
    "call without result",
    saw([], hello),
    ofLog([...log.slice(0, 2), call(3)], { toolCalls: 1 }),
  ],
  "a paused agent that works": [
    "ran while stopped",
    saw([], hello, sent("p", 3, { word: "paused" })),
    ofLog([...log.slice(0, 2), status(3, "paused", "p"), text(4, "hello")], { status: "paused" }),
  ],
  "a canceled agent that works": [
    "ran while stopped",
    saw([], hello, sent("", 3, { word: "canceled" })),
    ofLog([...log.slice(0, 2), status(3, "canceled"), text(4, "hello")], { status: "canceled" }),
  ],
  "a failed agent that works": [
    "ran while stopped",
    saw([], hello),
    ofLog(
      [...log.slice(0, 2), at(3, { case: "error", value: { code: "INTERNAL" } }), text(4, "hello")],
      { status: "failed" },
    ),
  ],
  "another status than the log's": [
    "wrong status",
    saw(all(log), hello),
    ofLog(log, { status: "paused" }),
  ],
  "steps that the log does not have": [
    "wrong statistics",
    saw(all(log), hello),
    ofLog(log, { steps: 2 }),
  ],
  "calls that the log does not have": [
    "wrong statistics",
    saw(all(log), hello),
    ofLog(log, { toolCalls: 1 }),
  ],
  "fuel that the log does not have": [
    "wrong statistics",
    saw(all(log), hello),
    ofLog(log, { fuel: 1 }),
  ],
};

test.each(Object.entries(broken))("%s is named", (_, [rule, client, said]) => {
  expect(rules(client, said)).toContain(rule);
});

test("a message that was never acknowledged may be in the log or not, but not twice", () => {
  const unanswered = sent("say hello (1)", null);
  expect(rules(saw(all(log), unanswered), ofLog(log))).toEqual([]);
  expect(rules(saw(all(log), hello, sent("say bye (2)", null)), ofLog(log))).toEqual([]);
  expect(rules(saw(all(twice), unanswered), ofLog(twice, { steps: 2 }))).toContain(
    "doubled message",
  );
});

test("replies that follow each other count for themselves, the events of one reply for one", () => {
  const replies = [
    ...log,
    text(4, "another"),
    at(5, { case: "thought", value: { content: "hm" } }),
    at(6, { case: "text", value: { content: "and" } }, 50),
    at(7, call(7).payload, 50),
    at(8, call(8).payload, 50),
    result(9, "call_8"),
    result(10, "call_7"),
    call(11),
  ];
  const read = readLog(replies);
  expect([read.steps, read.toolCalls, read.fuelUsed]).toEqual([4, 3, 14]);
});

test("the calls that wait for a decision are those without one", () => {
  const waiting = [
    ...log,
    call(4, true),
    call(5, true),
    status(6, "approved", "call_4"),
    result(7, "call_4"),
  ];
  const read = readLog(waiting);
  expect(read.status).toBe("waiting_for_confirmation");
  expect(read.awaiting).toEqual(["call_5"]);
});

test("a fork begins with its parent's events, and rests whatever the parent was about to do", () => {
  const parent = [...log, input(4, "more"), call(5)];
  const copy = parent.map((message) => ({ ...message, agentId: "b" }));
  const fork = [...copy, { ...status(6, "forked", "from event 5 of agent a"), agentId: "b" }];
  expect(checkFork(parent, fork, 5)).toEqual([]);
  expect(readLog(fork).status).toBe("waiting_for_input");
  expect(readLog(fork).violations).toEqual([]);
  const changed = fork.with(2, { ...text(3, "hello me"), agentId: "b" });
  expect(checkFork(parent, changed, 5).map(({ rule }) => rule)).toEqual(["wrong fork"]);
  expect(checkFork(parent, fork.slice(0, 3), 5).length).toBe(2);
});
