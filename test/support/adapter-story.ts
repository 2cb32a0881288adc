import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Clock, systemClock } from "../../src/clock.ts";
import { EngramError } from "../../src/errors.ts";
import type { Model } from "../../src/llm/model.ts";
import { advanceUntil, makeManualClock } from "./manual-clock.ts";
import { asking, collect, user } from "./model-reply.ts";

type Chat = { readonly over: Promise<boolean> };

/** An adapter of model servers, and the stand-in that it is tried on. */
export type Adapter = {
  readonly open: (more?: { readonly timeoutMs?: number; readonly clock?: Clock }) => Model;
  readonly chats: () => readonly Chat[];
  readonly chat: (n: number) => Promise<Chat>;
  /** Has the next chat say nothing, or "Hello" and " wor" and then nothing more. */
  readonly hang: () => void;
  readonly stall: () => void;
  /** Has the next chat say this once that has come about. */
  readonly say: (text: string, once: () => Promise<unknown>) => void;
};

const hello = asking([user("hello")]);

/** Tries what has to hold of all adapters: that a stop reaches the server at any moment, that silence ends a call, that many go on at once. */
export const holdsCalls = (adapter: Adapter): void => {
  // Hundreds of calls are much for a machine that has other things to do.
  setDefaultTimeout(30_000);
  describe("a stop reaches the server", () => {
    const reason = new EngramError("unavailable", "paused", { transient: true });

    test.each(["hang", "stall"] as const)("while it would %s", async (fault) => {
      adapter[fault]();
      const stop = new AbortController();
      const reply = collect(adapter.open(), hello, stop.signal);
      const { over } = await adapter.chat(0);
      stop.abort(reason);
      expect((await reply).error).toBe(reason);
      expect(await over).toBe(true);
    });

    test("between two pieces", async () => {
      adapter.stall();
      const stop = new AbortController();
      const pieces = adapter.open().call(hello, stop.signal)[Symbol.asyncIterator]();
      expect(await pieces.next()).toEqual({ done: false, value: { kind: "text", text: "Hello" } });
      stop.abort(reason);
      await expect(pieces.next()).rejects.toBe(reason);
      expect(await adapter.chats()[0]?.over).toBe(true);
    });

    test("by an end of the iteration", async () => {
      adapter.stall();
      for await (const piece of adapter.open().call(hello, new AbortController().signal)) {
        expect(piece).toEqual({ kind: "text", text: "Hello" });
        break;
      }
      expect(await adapter.chats()[0]?.over).toBe(true);
    });

    test("just before it is asked", async () => {
      const stop = new AbortController();
      const reply = collect(adapter.open(), hello, stop.signal);
      stop.abort(reason);
      expect((await reply).error).toBe(reason);
      expect(adapter.chats()).toEqual([]);
    });

    test("and before it there is no request", async () => {
      const { error } = await collect(adapter.open(), hello, AbortSignal.abort(reason));
      expect(error).toBe(reason);
      expect(adapter.chats()).toEqual([]);
    });
  });

  test.each(["hang", "stall"] as const)(
    "silence (%s) is a timeout, and ends the request",
    async (fault) => {
      adapter[fault]();
      const clock = makeManualClock();
      const reply = collect(adapter.open({ timeoutMs: 50, clock }), hello);
      await adapter.chat(0);
      const { error } = await advanceUntil(clock, 50, reply);
      expect(error).toMatchObject({
        code: "model_timeout",
        transient: true,
        message: expect.stringContaining("LLM_TIMEOUT_MS"),
      });
      expect(await adapter.chats()[0]?.over).toBe(true);
    },
  );

  test("a reply leaves no clock running", async () => {
    let running = 0;
    const after: Clock["after"] = () => {
      let canceled = false;
      running++;
      return () => {
        if (!canceled) running--;
        canceled = true;
      };
    };
    const model = adapter.open({ clock: { ...systemClock, after } });
    expect((await collect(model, asking([user("count to 50")]))).text).toEndWith(" 49 50");
    adapter.say("more", async () => {});
    expect((await collect(model, hello)).text).toBe("more");
    expect(running).toBe(0);
  });

  test("a call can be one of hundreds under way", async () => {
    const count = 300;
    for (let n = 0; n < count; n++) adapter.say("all here", () => adapter.chat(count - 1));
    const model = adapter.open();
    const calls = Array.from({ length: count }, () => collect(model, hello));
    expect((await Promise.all(calls)).every(({ text }) => text === "all here")).toBe(true);
  });
};
