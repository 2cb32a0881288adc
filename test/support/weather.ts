import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { TurnErrorCode } from "../../src/agent/event.ts";
import { statusOf } from "../../src/agent/state.ts";
import { turnLimits } from "../../src/limits.ts";
import type { FakeExchange } from "./fake-ollama-exchange.ts";
import type { FakeServer, ScriptOf } from "./fake-server.ts";
import {
  askedOf,
  begin,
  lastOf,
  partialOf,
  untilRest,
  untilSeen,
  type OpenModel,
} from "./ollama-story.ts";

/** What a fault comes to: its code, whether it is tried again (in how many calls), and the beginning of an answer that it leaves. */
export type Weather = readonly [
  TurnErrorCode,
  isTransient: boolean,
  partial: string,
  calls?: number,
];

/** Has servers fail in each of these ways, once and for ever, and says what is to become of a turn. */
export const holdsInWeather = <X extends Pick<FakeExchange, "body">>(
  fakeNow: () => FakeServer<X>,
  weather: Readonly<Record<string, Weather>>,
  scripts: Readonly<Record<string, ScriptOf<X>>>,
  open?: OpenModel,
): void => {
  // Some of them is much to read, on a machine that may have other things to do.
  setDefaultTimeout(30_000);
  const faultNamed = (name: string): ScriptOf<X> => {
    const fault = new Map(Object.entries(scripts)).get(name);
    if (fault === undefined) throw new Error(`no fault is named ${name}`);
    return fault;
  };

  describe.each(Object.entries(weather))("%s", (name, [code, isTransient, partial, most]) => {
    const fault = faultNamed(name);

    test("once, and the answer is whole, each piece once", async () => {
      const fake = fakeNow();
      const story = await begin(fake, {}, "qwen3", open);
      const { stage, engine, agentId, watcher } = story;
      fake.next(fault);
      await stage.say(engine, agentId, "say Hello world");
      const rested = await untilRest(story);
      if (isTransient) expect(statusOf(rested)).toBe("waiting_for_input");
      else {
        expect(await lastOf(story)).toMatchObject({ type: "TurnFailed", code });
        await engine.command(agentId, { type: "Retry", key: null });
        await untilRest(story);
      }
      expect(await lastOf(story)).toMatchObject({ type: "ModelSpoke", content: "Hello world" });
      expect(askedOf(fake).map(partialOf)).toEqual(["", partial]);
      await untilSeen(() => watcher.seen.at(-1)?.event.type === "ModelSpoke");
      expect(watcher.faults).toEqual([]);
      await engine.drain();
    });

    test("for ever, and the turn fails for all to see, until a retry", async () => {
      const fake = fakeNow();
      const story = await begin(fake, {}, "qwen3", open);
      const { stage, engine, agentId } = story;
      const calls = most ?? (isTransient ? 1 + turnLimits.attemptsMax : 1);
      const again = fake.always(fault);
      await stage.say(engine, agentId, "say Hello world");
      await untilRest(story);
      again();
      expect(await lastOf(story)).toMatchObject({ type: "TurnFailed", code });
      expect(askedOf(fake)).toHaveLength(calls);
      await engine.command(agentId, { type: "Retry", key: null });
      await untilRest(story);
      const { type, content = "" } = (await lastOf(story)) as { type: string; content?: string };
      expect([type, content.endsWith("ld")]).toEqual(["ModelSpoke", true]);
      await engine.drain();
    });
  });
};
