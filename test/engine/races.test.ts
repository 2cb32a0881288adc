import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Command } from "../../src/agent/accept.ts";
import { isResting, statusOf } from "../../src/agent/state.ts";
import type { ModelRequest } from "../../src/agent/request.ts";
import type { Store } from "../../src/store/store.ts";
import {
  aborted,
  askedOf,
  makePlayedModel,
  type PlayedReply,
  turn,
} from "../support/played-model.ts";
import { seeded } from "../support/seed.ts";
import { openStage, until } from "../support/stage.ts";
import { readAll } from "../support/stores.ts";

const pause: Command = { type: "Pause", key: null, reason: "" };
const resume: Command = { type: "Resume", key: null };

/** Its first call waits until it is stopped. */
const held = () =>
  makePlayedModel((_request, number) => ({
    text: ["one ", "two ", "three"],
    before: async (index, signal) => {
      if (number === 1 && index === 2) await aborted(signal);
    },
  }));

/** Each operation takes some turns of the loop before and behind it, as the delays say. */
function delayed(store: Store, delays: readonly number[]): Store {
  let next = 0;
  const some = async (): Promise<void> => {
    for (let left = delays[next++ % delays.length] ?? 0; left > 0; left--) await turn();
  };
  const slow =
    <A extends readonly unknown[], R>(operation: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await some();
      const result = await operation(...args);
      await some();
      return result;
    };
  return {
    ...store,
    create: slow(store.create),
    append: slow(store.append),
    read: slow(store.read),
    writeDraft: slow(store.writeDraft),
    readDraft: slow(store.readDraft),
    claim: slow(store.claim),
    release: slow(store.release),
    nextWakeMs: slow(store.nextWakeMs),
    row: slow(store.row),
  };
}

const inputs = fc.array(
  fc.record({
    kind: fc.constantFrom("say", "say", "say", "tool", "pause", "resume"),
    afterTurns: fc.nat({ max: 12 }),
  }),
  { minLength: 1, maxLength: 8 },
);

/** Answers a message by a text that names it; what begins with "tool" by a tool call first. */
const replyTo = ({ messages }: ModelRequest): PlayedReply => {
  const asked = askedOf(messages);
  return asked.startsWith("tool")
    ? { calls: [{ name: "echo", input: asked }] }
    : { text: ["about ", asked] };
};

describe("input that comes just as an agent is let go of", () => {
  test("is worked on, wherever it falls between the worker's operations", async () => {
    await fc.assert(
      fc.asyncProperty(
        inputs,
        fc.array(fc.nat({ max: 4 }), { minLength: 3, maxLength: 24 }),
        fc.constantFrom(1, 2),
        async (moves, delays, concurrency) => {
          const stage = openStage();
          const engine = stage.start({
            model: makePlayedModel(replyTo),
            store: delayed(stage.store, delays),
            concurrency,
          });
          // Another agent is in the way where there is room for one.
          const other = stage.create(engine, "other");
          const agentId = await stage.create(engine, "hello");
          const sent: Promise<unknown>[] = [];
          for (const [index, { kind, afterTurns }] of moves.entries()) {
            for (let turns = 0; turns < afterTurns; turns++) await turn();
            if (kind === "pause") sent.push(engine.command(agentId, pause));
            else if (kind === "resume") sent.push(engine.command(agentId, resume));
            else sent.push(stage.say(engine, agentId, `${kind} ${index}`));
          }
          await Promise.all(sent);
          await engine.command(agentId, resume);
          await stage.untilSettled(agentId);
          await stage.untilSettled(await other);
          const state = await stage.state(agentId);
          expect(isResting(statusOf(state))).toBe(true);
          expect(state.modelDue).toBe(false);
          expect(state.pendingCalls).toEqual([]);
          const log = await readAll(stage.store, agentId);
          expect(log.filter(({ event }) => event.type === "MessageReceived").length).toBe(
            moves.filter(({ kind }) => kind === "say" || kind === "tool").length,
          );
          await engine.drain();
        },
      ),
      seeded(150),
    );
  });

  test("is worked on where it falls between the look and the release", async () => {
    const stage = openStage();
    let armed = true;
    const model = held();
    const engine = stage.start({
      model,
      store: {
        ...stage.store,
        release: async (...args) => {
          if (armed) {
            armed = false;
            await engine.command(agentId, resume);
          }
          return stage.store.release(...args);
        },
      },
    });
    const agentId = await stage.create(engine, "hello");
    await until("it calls the model", () => model.calls.length === 1);
    await engine.command(agentId, pause);
    await stage.untilSettled(agentId);
    expect(armed).toBe(false);
    expect(await stage.events(agentId)).toEqual([
      "AgentCreated",
      "AgentPaused",
      "AgentResumed",
      "ModelSpoke",
    ]);
    await engine.drain();
  });
});

test("a repetition whose first is just being recorded elsewhere is answered with what came of that", async () => {
  const stage = openStage();
  const cancel: Command = { type: "Cancel", key: { messageId: "m", digest: "d" } };
  const engine = stage.start({ model: held() });
  const agentId = await stage.create(engine, "hello");
  const other = stage.start({
    name: "other",
    store: {
      ...stage.store,
      marks: async (...args) => {
        await engine.command(agentId, cancel);
        return stage.store.marks(...args);
      },
    },
  });
  const { state } = await other.command(agentId, cancel);
  expect(statusOf(state)).toBe("canceled");
  await Promise.all([engine.drain(), other.drain()]);
});
