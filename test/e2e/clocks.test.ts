import { timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, setDefaultTimeout, test } from "bun:test";
import type { ServerMessage } from "../../src/gen/engram/api/v1/agent_pb.ts";
import {
  createAgent,
  historyOf,
  is,
  openChat,
  restingAgent,
  valuesOf,
} from "../support/conversation.ts";
import { openEngine } from "../support/engine-process.ts";
import { openFakeOllama } from "../support/fake-ollama.ts";
import { makeListener } from "../support/listener.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";
import { openSetClock } from "../support/set-clock.ts";

setDefaultTimeout(60_000);

const daySeconds = 86_400;
const days = [
  ["a day forth", daySeconds],
  ["a day back", -daySeconds],
] as const;
/** Of a turn: much more than it takes, and much less than a day. */
const maxDuration = { seconds: 300n, nanos: 0 };

/** How far ahead of this process's clock an event was recorded, in whole days. */
const daysAhead = ({ timestamp }: ServerMessage): number =>
  timestamp === undefined
    ? Number.NaN
    : Math.round((timestampMs(timestamp) - Date.now()) / (daySeconds * 1000)) + 0;

test.each(days)(
  "%s while an agent writes changes nothing of its answer",
  async (_, aheadSeconds) => {
    await using clock = await openSetClock();
    await using engine = await openEngine(clock.settings);
    const agentId = await createAgent(engine.client, {
      model: "scripted:10",
      config: { maxDuration },
    });
    const listener = makeListener();
    await using chat = openChat(engine.client, agentId, { after: 1n, listener });
    chat.say("write 200 words");
    await chat.until(() => wordsIn(listener.partial) > 60);
    await clock.set(aheadSeconds);
    await chat.until(() => wordsIn(listener.partial) > 120);
    await clock.set(0);
    await chat.until(() => wordsIn(listener.partial) > 160);
    await clock.set(aheadSeconds);
    await chat.end();
    expect(numbersIn(listener.texts.at(-1) ?? "")).toEqual(numbersTo(200));
    expect(listener.restarts).toBe(0);
    const history = await historyOf(engine.client, agentId);
    // Who shows that the clock was set at all.
    expect(daysAhead(history[0]!)).toBe(0);
    expect(daysAhead(history.at(-1)!)).toBe(Math.sign(aheadSeconds));
    const agent = await restingAgent(engine.client, agentId);
    expect(agent.status).toBe("waiting_for_input");
    const { seconds = -1n } = agent.stats?.totalDuration ?? {};
    expect(seconds).toBeGreaterThanOrEqual(1n);
    expect(seconds).toBeLessThan(60n);
  },
);

test.each(days)(
  "%s between kill -9 and the start changes nothing of an answer",
  async (_, aheadSeconds) => {
    await using clock = await openSetClock();
    await using engine = await openEngine(clock.settings);
    const agentId = await createAgent(engine.client, {
      model: "scripted:10",
      config: { maxDuration },
    });
    const listener = makeListener();
    await using before = openChat(engine.client, agentId, { after: 1n, listener });
    before.say("write 200 words");
    await before.until(() => wordsIn(listener.partial) > 60);
    await engine.kill();
    await before.broken();
    await clock.set(aheadSeconds);
    await engine.start();
    await using after = openChat(engine.client, agentId, { after: listener.sequence, listener });
    await after.end();
    expect(numbersIn(listener.texts.at(-1) ?? "")).toEqual(numbersTo(200));
    expect(listener.restarts).toBe(0);
    const history = await historyOf(engine.client, agentId);
    expect(daysAhead(history.at(-1)!)).toBe(Math.sign(aheadSeconds));
    const agent = await restingAgent(engine.client, agentId);
    expect(agent.status).toBe("waiting_for_input");
    expect(agent.stats?.totalDuration?.seconds).toBeLessThan(60n);
  },
);

/** A port on which nobody listens. */
const freePort = async (): Promise<number> => {
  const ollama = await openFakeOllama();
  await ollama.close();
  return Number(new URL(ollama.url).port);
};

test.each(
  days.flatMap(([name, aheadSeconds]) =>
    [false, true].map((kills) => ({ name, aheadSeconds, kills })),
  ),
)(
  "$name while an agent backs off from an absent model makes it wait no longer (killed: $kills)",
  async ({ aheadSeconds, kills }) => {
    const port = await freePort();
    await using clock = await openSetClock();
    await using engine = await openEngine({
      ...clock.settings,
      LLM_PROVIDER: "ollama",
      OLLAMA_URL: `http://127.0.0.1:${port}`,
    });
    const config = { enableObservation: true, maxDuration };
    const agentId = await createAgent(engine.client, { model: "qwen3", config });
    {
      await using chat = openChat(engine.client, agentId);
      chat.say("say hello");
      await chat.until(is("observation"));
      await clock.set(aheadSeconds);
      await chat.until(is("observation"));
    }
    if (kills) await engine.kill();
    await clock.set(-aheadSeconds);
    if (kills) await engine.start();
    const ollama = await openFakeOllama({ port });
    const agent = await restingAgent(engine.client, agentId);
    expect(agent.status).toBe("waiting_for_input");
    expect(agent.stats?.totalDuration?.seconds).toBeLessThan(60n);
    const history = await historyOf(engine.client, agentId);
    expect(valuesOf(history, "text").map(({ content }) => content)).toEqual(["hello"]);
    expect(valuesOf(history, "error")).toEqual([]);
    await ollama.close();
  },
);
