import { describe, expect, test } from "bun:test";
import { makeReply } from "../../src/engine/collect-reply.ts";
import { EngramError } from "../../src/errors.ts";
import { engineLimits } from "../../src/limits.ts";
import type { Model } from "../../src/llm/model.ts";
import { makePlayedModel, playedUsage, type PlayedReply } from "../support/played-model.ts";
import { makeGate, openStage, quiet, until } from "../support/stage.ts";
import { makeWatcher } from "../support/watcher.ts";

describe("what the model writes", () => {
  const answerOf = async (reply: PlayedReply): Promise<string> => {
    const stage = openStage();
    const engine = stage.start({ model: makePlayedModel(() => reply) });
    const agentId = await stage.create(engine, "hello");
    const watcher = makeWatcher();
    void watcher.watch(engine, agentId).catch(() => {});
    await stage.untilSettled(agentId);
    await until("all is seen", () => watcher.seen.length === 2);
    expect(watcher.faults).toEqual([]);
    expect(watcher.pieces()).toBeGreaterThan(1);
    const { event } = (await stage.log(agentId))[1]!;
    await engine.drain();
    return event.type === "ModelSpoke" ? event.content : event.type;
  };

  test("may cut a character in halves", async () => {
    expect(await answerOf({ text: ["a\ud83d", "\ude00b", "\ud83d", "c"] })).toBe("a😀b\ufffdc");
  });

  test("is of whole characters in its calls too, which are sent back to servers that take no others", () => {
    const reader = makeReply({ thinking: "", text: "", callsInText: false });
    reader.take({ kind: "toolCall", name: "a\ud83d", inputJson: '{"b":"\udc00"}' });
    reader.take({ kind: "done", usage: playedUsage });
    expect(reader.end().toolCalls).toEqual([{ name: "a\ufffd", inputJson: '{"b":"\ufffd"}' }]);
  });

  test("is no answer where there is nothing, or where it ends before it is whole", async () => {
    for (const text of [[], [""]]) {
      const stage = openStage();
      const engine = stage.start({ model: makePlayedModel(() => ({ text })) });
      const agentId = await stage.create(engine, "hello");
      await until("it is known", async () => (await stage.events(agentId)).length === 2);
      expect((await stage.log(agentId))[1]?.event).toMatchObject({ code: "MODEL_ERROR" });
      await engine.drain();
    }
  });

  test("is kept when the model breaks off, to the last piece", async () => {
    const stage = openStage();
    const prompts: (string | undefined)[] = [];
    const model: Model = {
      ...makePlayedModel(() => ({})),
      call: async function* ({ messages }) {
        const last = messages.at(-1);
        prompts.push(last?.role === "assistant" ? last.content : undefined);
        for (const text of prompts.length === 1 ? ["one ", "two ", "three"] : [" four"])
          yield { kind: "text", text };
        if (prompts.length === 1)
          throw new EngramError("model_timeout", "silence", { transient: true });
        yield { kind: "done", usage: playedUsage };
      },
      continuesPartial: async () => true,
    };
    const engine = stage.start({ model });
    const agentId = await stage.create(engine, "hello");
    await until("it backs off", async () => (await stage.events(agentId)).includes("ModelFailed"));
    await quiet();
    stage.clock.advance(700);
    await stage.untilSettled(agentId);
    expect(prompts).toEqual([undefined, "one two three"]);
    expect((await stage.log(agentId)).at(-1)?.event).toMatchObject({
      content: "one two three four",
    });
    await engine.drain();
  });

  test("is read no faster than it can be kept", async () => {
    const stage = openStage();
    const gate = makeGate();
    const piece = "x".repeat(64 * 1024);
    const pieces = 40;
    let read = 0;
    const model = makePlayedModel(() => ({
      text: Array.from({ length: pieces }, () => piece),
      before: async () => void read++,
    }));
    const engine = stage.start({
      model,
      store: {
        ...stage.store,
        writeDraft: async (...args) => {
          await gate.passed;
          return stage.store.writeDraft(...args);
        },
      },
    });
    const agentId = await stage.create(engine, "hello");
    const watcher = makeWatcher();
    void watcher.watch(engine, agentId).catch(() => {});
    for (let more = 0; more < 4; more++) await quiet();
    // And nothing is shown before it is durable.
    expect(watcher.pieces()).toBe(0);
    // One batch is being written, one waits.
    expect(read * piece.length).toBeLessThan(3 * engineLimits.draftPendingCharsMax);
    gate.open();
    await stage.untilSettled(agentId);
    expect((await stage.log(agentId))[1]?.event).toMatchObject({ content: piece.repeat(pieces) });
    await engine.drain();
  });
});
