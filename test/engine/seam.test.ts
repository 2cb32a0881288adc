import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BegunAgain, makeSeam } from "../../src/engine/seam.ts";
import type { Model } from "../../src/llm/model.ts";
import { playedUsage } from "../support/played-model.ts";
import { seeded } from "../support/seed.ts";
import { openStage, quiet, until } from "../support/stage.ts";
import { makeWatcher } from "../support/watcher.ts";

/** What is new of a continuation that comes in pieces. */
const joined = (begun: string, pieces: readonly string[]): string => {
  const seam = makeSeam(begun);
  return pieces.map((piece) => seam.take(piece)).join("") + seam.end();
};

const words = Array.from({ length: 20 }, (_, n) => `word-${n}`).join(" ");

describe("a continuation", () => {
  test("is taken as it is, but for blanks that the text has already", () => {
    expect(joined("one two", [" three"])).toBe(" three");
    expect(joined("one two ", [" three"])).toBe("three");
    expect(joined("one two \n", [" ", "\n", "three"])).toBe("three");
    expect(joined(`${words} `, [" and", " on"])).toBe("and on");
    expect(joined(words, [])).toBe("");
  });
  test("that repeats all it was given, in whatever pieces, counts from there on", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 12 }), (lengths) => {
        const written = `${words} and on`;
        const pieces: string[] = [];
        let from = 0;
        for (const length of lengths) pieces.push(written.slice(from, (from += length)));
        expect(joined(`${words} `, [...pieces, written.slice(from)])).toBe("and on");
      }),
      seeded(100),
    );
  });
  test("that begins like the answer and goes another way is an answer anew", () => {
    const other = `${words.slice(0, 70)}something else`;
    expect(() => joined(words, other.split(/(?<= )/))).toThrow(BegunAgain);
    expect(() => joined(words, [words.slice(0, 80)])).toThrow(BegunAgain);
  });
  test("may begin with a few of the same words, and with a short answer's all", () => {
    expect(joined(words, ["word-0 word-1 ", "again"])).toBe("word-0 word-1 again");
    expect(joined("ha ha", [" ha ha"])).toBe(" ha ha");
    expect(joined(words, [" word-0"])).toBe(" word-0");
  });
  test("of a text that repeats itself is no repetition", () => {
    const song = "la ".repeat(60);
    expect(joined(song, ["la la la"])).toBe("la la la");
  });
});

test("a model that says it continues and answers anew is let answer anew: one text, nothing mixed", async () => {
  const stage = openStage();
  let calls = 0;
  const model: Model = {
    call: async function* (_request, signal) {
      const again = calls++ > 0;
      for (const word of `${again ? "Well, " : ""}${words} end`.match(/\S+\s*/g) ?? []) {
        if (!again && word.startsWith("word-15"))
          await new Promise((_, reject) =>
            signal.addEventListener("abort", () => reject(signal.reason as Error)),
          );
        await new Promise<void>((resolve) => void setImmediate(resolve));
        yield { kind: "text", text: calls === 2 ? word.replace("Well, ", "") : word };
      }
      yield { kind: "done", usage: playedUsage };
    },
    continuesPartial: () => Promise.resolve(true),
  };
  // The second call repeats what it was given and then says something else.
  const restarting: Model = {
    ...model,
    call: async function* (request, signal) {
      if (calls !== 1) return yield* model.call(request, signal);
      calls++;
      yield { kind: "text", text: `${words.slice(0, 90)} but then` };
      yield { kind: "done", usage: playedUsage };
    },
  };
  const engine = stage.start({ model: restarting });
  const agentId = await stage.create(engine, "hello");
  const watcher = makeWatcher();
  void watcher.watch(engine, agentId).catch(() => {});
  await until("much is seen", () => watcher.textBytes() > 100);
  await engine.command(agentId, { type: "Pause", key: null, reason: "" });
  await stage.untilSettled(agentId);
  await engine.command(agentId, { type: "Resume", key: null });
  await stage.untilSettled(agentId);
  await quiet();
  const texts = (await stage.log(agentId)).flatMap(({ event }) =>
    event.type === "ModelSpoke" ? [event.content] : [],
  );
  expect(texts).toEqual([`Well, ${words} end`]);
  expect(await stage.events(agentId)).toContain("AnswerAbandoned");
  expect(watcher.faults).toEqual([]);
  await engine.drain();
});
