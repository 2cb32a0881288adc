import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { LoggedEvent } from "../../src/agent/event.ts";
import type { AgentState } from "../../src/agent/state.ts";
import { isResting, statusOf } from "../../src/agent/state.ts";
import { live, type Lived, lives } from "../support/crash-lives.ts";
import { missed, rebuilt } from "../support/rebuilt.ts";
import { seeded } from "../support/seed.ts";
import { quickBackends, slowDiskMs } from "../support/quick-stores.ts";

/** What must be equal whatever happened on the way: ids and times are not. */
function gist({ transcript, stats, lifecycle, paused, spec }: AgentState): unknown {
  const items = transcript.map((item) => {
    switch (item.kind) {
      case "assistant":
        return `assistant: ${item.content} ${item.toolCalls.map((call) => call.inputJson).join()}`;
      case "tool":
        return `tool ${item.name}: ${item.content}`;
      case "user":
      case "operator":
        return `${item.kind}: ${item.content}`;
    }
  });
  const { workedMs: _, ...counts } = stats;
  // Two tools at once may come back in either order.
  return { items: items.toSorted(), counts, lifecycle, paused, spec };
}

const ofClients = new Set([
  "MessageReceived",
  "AgentPaused",
  "AgentEdited",
  "AgentCanceled",
  "ToolConfirmed",
]);

/** Events that an agent's worker wrote while it was paused, failed or canceled. */
function trespasses(log: readonly LoggedEvent[]): readonly string[] {
  const found: string[] = [];
  let still = false;
  for (const { event, sequence } of log) {
    if (event.type === "AgentPaused" || event.type === "AgentCanceled") still = true;
    else if (event.type === "AgentResumed" || event.type === "AgentForked") still = false;
    else if (still && !ofClients.has(event.type)) found.push(`${event.type} at ${sequence}`);
  }
  return found;
}

/** Ids of clients under which more than one event was recorded. */
function doubles(log: readonly LoggedEvent[]): readonly string[] {
  const ids = log.flatMap(({ event }) =>
    "key" in event && event.key !== null ? [event.key.messageId] : [],
  );
  return ids.filter((id, index) => ids.indexOf(id) !== index);
}

/** Each tool call of the log once; a second result would not have been folded. */
const unanswered = ({ pendingCalls }: AgentState): readonly unknown[] => pendingCalls;

type Manner = { readonly drifting?: boolean; readonly repeating?: boolean };

function hold(lived: Lived, free: Lived, { drifting = false, repeating = false }: Manner): void {
  const { endings, faults, crashes, model, sandbox } = lived;
  expect(faults).toEqual([]);
  for (const { state, log } of endings) {
    expect(isResting(statusOf(state))).toBe(true);
    if (!repeating) expect(unanswered(state)).toEqual([]);
    expect(trespasses(log)).toEqual([]);
    expect(doubles(log)).toEqual([]);
  }
  if (!drifting)
    expect(endings.map(({ state }) => gist(state))).toEqual(
      free.endings.map(({ state }) => gist(state)),
    );
  holdPrompts(lived);
  expect(model.calls.length).toBeLessThanOrEqual(free.model.calls.length + crashes);
  if (repeating)
    expect(sandbox.calls.length).toBeLessThanOrEqual(free.sandbox.calls.length + crashes);
  else
    for (const inputJson of new Set(sandbox.calls.map((call) => call.inputJson)))
      expect(
        sandbox.calls.filter((call) => call.inputJson === inputJson).length,
      ).toBeLessThanOrEqual(1 + crashes);
}

/** What is missing was sent by an engine that died before anything of the answer was durable. */
function holdPrompts({ endings, crashes, model }: Lived): void {
  const missing = endings.map(({ log, draft }) => {
    const ofParent = log.findLastIndex(({ event }) => event.type === "AgentForked");
    const told = rebuilt(log, draft);
    const copied = rebuilt(log.slice(0, Math.max(0, ofParent))).length;
    expect(missed(model.calls, told)).not.toBeNull();
    return told.length - copied;
  });
  const told = missing.reduce((total, own) => total + own, 0);
  expect(model.calls.length - told).toBeLessThanOrEqual(crashes);
}

describe.each(quickBackends)("an engine that dies at any point: $name", ({ name, fixture }) => {
  const pairs = name === "memory" ? 120 : 30;

  describe.each(lives)("$name", (life) => {
    test(
      "comes to the same end after one crash, wherever",
      async () => {
        const free = await live(life, fixture, new Set());
        hold(free, free, life);
        expect(free.points).toBeGreaterThan(8);
        let died = 0;
        let snapshotsUsed = 0;
        for (let point = 0; point < free.points; point++) {
          const lived = await live(life, fixture, new Set([point]));
          died += lived.crashes;
          snapshotsUsed += lived.snapshotsUsed;
          hold(lived, free, life);
        }
        expect(died).toBeGreaterThan(free.points / 2);
        if (life.name.includes("snapshots")) expect(snapshotsUsed).toBeGreaterThan(free.points / 2);
      },
      slowDiskMs,
    );
    test(
      "comes to the same end after two crashes",
      async () => {
        const free = await live(life, fixture, new Set());
        await fc.assert(
          fc.asyncProperty(
            fc.nat({ max: free.points - 1 }),
            fc.nat({ max: free.points - 1 }),
            async (first, gap) => {
              const lived = await live(life, fixture, new Set([first, first + 1 + gap]));
              hold(lived, free, life);
            },
          ),
          { ...seeded(pairs), endOnFailure: true },
        );
      },
      slowDiskMs,
    );
  });
});
