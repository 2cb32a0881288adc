import { describe, expect, test } from "bun:test";
import type { ServerMessage } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { storeLimits } from "../../src/limits.ts";
import { openMemoryStore } from "../../src/store/memory.ts";
import type { Clock } from "../../src/clock.ts";
import type { Store } from "../../src/store/store.ts";
import { brief, heartbeatMs, openApi, openConversation } from "../support/api.ts";
import { aborted, askedOf, makePlayedModel, type PlayedModel } from "../support/played-model.ts";
import { echoing, leaseTtlMs, makeGate, openStage, quiet, type Stage } from "../support/stage.ts";

const user = (content: string) => ({ case: "userInput", value: { content } }) as const;

const open = async (model: PlayedModel = echoing(), stage: Stage = openStage()) => {
  const engine = stage.start({ model });
  const client = openApi(engine, stage);
  const agentId = await stage.create(engine, "goal", { waitForInput: true });
  return { stage, engine, client, agentId, talk: () => openConversation(client) };
};

const is =
  (text: string) =>
  (message: ServerMessage): boolean =>
    brief(message) === text;

const all = (messages: readonly ServerMessage[]): readonly string[] => messages.map(brief);

const whole = (messages: readonly ServerMessage[]): readonly string[] =>
  all(messages.filter(({ payload }) => !payload.case?.endsWith("Delta")));

describe("a chat", () => {
  test("acknowledges a message with its event, and ends when the agent rests", async () => {
    const { agentId, talk, engine } = await open();
    const chat = talk();
    chat.send({ agentId, payload: user("hi") });
    chat.halfClose();
    expect(await chat.ended).toBeNull();
    expect(whole(chat.messages)).toEqual(["2 waiting", "3 text: you said: hi"]);
    const deltas = all(chat.messages).filter((line) => line.includes("textDelta"));
    expect(deltas).toEqual(["2 textDelta 0: you said: ", "2 textDelta 10: hi"]);
    await engine.drain();
  });

  test("sends all of several messages, each acknowledged once and in order", async () => {
    const { agentId, talk, engine, stage } = await open();
    const chat = talk();
    for (const word of ["a", "b", "c"])
      chat.send({ agentId, messageId: `m-${word}`, payload: user(word) });
    chat.halfClose();
    expect(await chat.ended).toBeNull();
    const lines = whole(chat.messages);
    expect(lines.filter((line) => line.endsWith("waiting")).length).toBe(3);
    const sequences = chat.messages
      .filter(({ payload }) => !payload.case?.endsWith("Delta"))
      .map(({ sequenceId }) => Number(sequenceId));
    expect(sequences).toEqual(sequences.map((_, index) => index + 2));
    expect((await stage.log(agentId)).length).toBe(sequences.length + 1);
    await engine.drain();
  });

  test("shows an input as its acknowledgement only, however late that is known", async () => {
    const late = (clock: Clock): Store => {
      const memory = openMemoryStore(clock);
      return {
        ...memory,
        append: async (append) => {
          const lease = await memory.append(append);
          if (append.epoch === null) await quiet();
          return lease;
        },
      };
    };
    const { agentId, talk, engine } = await open(echoing(), openStage(late));
    const chat = talk();
    chat.send({ agentId, payload: user("hi") });
    chat.halfClose();
    expect(await chat.ended).toBeNull();
    expect(whole(chat.messages)).toEqual(["2 waiting", "3 text: you said: hi"]);
    await engine.drain();
  });

  test("records a repeated message_id once, and acknowledges it with the first one's sequence", async () => {
    const { agentId, talk, engine, stage } = await open();
    const first = talk();
    first.send({ agentId, messageId: "m", payload: user("hi") });
    first.halfClose();
    await first.ended;
    const second = talk();
    second.send({ agentId, messageId: "m", payload: user("hi") });
    second.halfClose();
    expect(await second.ended).toBeNull();
    expect(all(second.messages)).toEqual(["2 waiting"]);

    const resumed = talk();
    resumed.send({ agentId, resumeFromSequence: 1n, messageId: "m", payload: user("hi") });
    resumed.halfClose();
    expect(await resumed.ended).toBeNull();
    expect(all(resumed.messages)).toContain("2 waiting");
    expect(whole(resumed.messages).filter((line) => line.startsWith("3 "))).toHaveLength(1);
    expect(await stage.events(agentId)).toEqual(["AgentCreated", "MessageReceived", "ModelSpoke"]);
    await engine.drain();
  });

  test("acknowledges each of two that come to the same event", async () => {
    const { agentId, talk, engine } = await open();
    const chat = talk();
    chat.send({ agentId, messageId: "m", payload: user("hi") });
    chat.send({ agentId, messageId: "m", payload: user("hi") });
    chat.send({ agentId, messageId: "m", payload: user("hi") });
    chat.halfClose();
    expect(await chat.ended).toBeNull();
    expect(whole(chat.messages).filter((line) => line === "2 waiting")).toHaveLength(3);
    await engine.drain();
  });

  test("shows another's event beside its own word that changed nothing", async () => {
    const { agentId, talk, engine } = await open();
    const [one, other] = [talk(), talk()];
    for (const chat of [one, other]) chat.send({ agentId });
    await quiet();
    const pause = { case: "pause", value: { reason: "" } } as const;
    one.send({ payload: pause });
    await other.until("the pause", is("2 paused"));
    other.send({ payload: user("kept") });
    one.send({ payload: pause });
    await one.until("the input", is("3 user_input"));
    await quiet();
    expect(all(one.messages).slice(0, 1)).toEqual(["2 paused"]);
    expect(all(one.messages).slice(1).toSorted()).toEqual(
      expect.arrayContaining(["3 user_input", expect.stringMatching(/^[23] paused$/)]),
    );
    for (const chat of [one, other]) chat.halfClose();
    expect(await Promise.all([one.ended, other.ended])).toEqual([null, null]);
    await engine.drain();
  });

  test("shows the event that a repeated message became where it is resumed from before it", async () => {
    const { agentId, talk, engine } = await open();
    const first = talk();
    first.send({ agentId, messageId: "m", payload: user("hi") });
    first.halfClose();
    await first.ended;
    const again = talk();
    again.send({ agentId, resumeFromSequence: 1n, messageId: "m", payload: user("hi") });
    again.halfClose();
    expect(await again.ended).toBeNull();
    expect(whole(again.messages)).toEqual(["2 user_input", "3 text: you said: hi", "2 waiting"]);
    const shown = again.messages[0]?.payload;
    expect(shown?.case === "status" ? shown.value.message : "").toBe("hi");
    await engine.drain();
  });

  test("breaks its silence though the client speaks, of nothing", async () => {
    const { agentId, talk, engine, stage } = await open();
    const chat = talk();
    chat.send({ agentId });
    for (let tenth = 0; tenth < 20; tenth++) {
      await quiet();
      stage.clock.advance(heartbeatMs / 10);
      chat.send({});
    }
    await quiet();
    expect(all(chat.messages)).toEqual(["1 heartbeat", "1 heartbeat"]);
    chat.halfClose();
    expect(await chat.ended).toBeNull();
    await engine.drain();
  });

  test("refuses other content under a message_id that was used", async () => {
    const { agentId, talk, engine, stage } = await open();
    const chat = talk();
    chat.send({ agentId, messageId: "m", payload: user("hi") });
    await chat.until("the answer", is("3 text: you said: hi"));
    chat.send({ agentId, messageId: "m", payload: user("ho") });
    expect(await chat.ended).toBe("AlreadyExists");
    expect((await stage.log(agentId)).length).toBe(3);
    await engine.drain();
  });

  test("acknowledges what came before a message that it refuses", async () => {
    const { agentId, talk, engine } = await open();
    const chat = talk();
    chat.send({ agentId, payload: user("hi") });
    chat.send({ agentId, payload: { case: "confirm", value: { callId: "call_9" } } });
    expect(await chat.ended).toBe("NotFound");
    expect(all(chat.messages)).toContain("2 waiting");
    await engine.drain();
  });

  test("that is not read and then sends nonsense ends alone", async () => {
    const { agentId, client, engine } = await open();
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    const gate = makeGate();
    async function* requests() {
      yield { agentId, payload: user("hi") };
      await gate.passed;
      yield { agentId: "another", payload: user("hi") };
    }
    const stream = client.chat(requests())[Symbol.asyncIterator]();
    await stream.next();
    gate.open();
    await quiet();
    expect(unhandled).toEqual([]);
    const drained = (async () => {
      while ((await stream.next()).done !== true);
    })();
    expect(await drained.catch((error: unknown) => error)).toMatchObject({ code: 3 });
    process.off("unhandledRejection", note);
    await engine.drain();
  });

  test("listens to no more than a page of words that change nothing while it is not read", async () => {
    const { agentId, client, engine } = await open();
    const asked = 3 * storeLimits.readEventsMax;
    let heard = 0;
    async function* requests() {
      for (; heard < asked; heard++)
        yield { agentId, payload: { case: "pause", value: {} } } as const;
    }
    const stream = client.chat(requests())[Symbol.asyncIterator]();
    await stream.next();
    await quiet();
    expect(heard).toBeGreaterThan(storeLimits.readEventsMax);
    expect(heard).toBeLessThan(asked);
    let answered = 1;
    while ((await stream.next()).done !== true) answered++;
    expect(answered).toBe(asked);
    await engine.drain();
  });

  test("shows every event behind the one it resumes from, user input included", async () => {
    const { agentId, talk, engine, stage } = await open();
    for (const word of ["a", "b"]) {
      await stage.say(engine, agentId, word);
      await stage.untilSettled(agentId);
    }
    const chat = talk();
    chat.send({ agentId, resumeFromSequence: 2n });
    chat.halfClose();
    expect(await chat.ended).toBeNull();
    expect(all(chat.messages)).toEqual([
      "3 text: you said: a",
      "4 user_input",
      "5 text: you said: b",
    ]);
    const beyond = talk();
    beyond.send({ agentId, resumeFromSequence: 6n });
    expect(await beyond.ended).toBe("InvalidArgument");
    await engine.drain();
  });

  test("that attaches in mid-answer gets it from its start, and another's input as an event", async () => {
    const hold = makeGate();
    const model = makePlayedModel(({ messages }) => ({
      text: ["one ", "two ", askedOf(messages)],
      before: async (index) => (index === 2 ? hold.passed : undefined),
    }));
    const { agentId, talk, engine, stage } = await open(model);
    const early = talk();
    early.send({ agentId });
    await quiet();
    await stage.say(engine, agentId, "hi");
    await early.until("two pieces", is("2 textDelta 4: two "));
    const late = talk();
    late.send({ agentId });
    await late.until("both of them", (message) => brief(message).includes("two"));
    hold.open();
    for (const chat of [early, late]) {
      chat.halfClose();
      expect(await chat.ended).toBeNull();
    }
    expect(all(early.messages)).toEqual([
      "2 user_input",
      "2 textDelta 0: one ",
      "2 textDelta 4: two ",
      "2 textDelta 8: hi",
      "3 text: one two hi",
    ]);
    expect(all(late.messages)).toEqual(all(early.messages).slice(1));
    await engine.drain();
  });

  test("breaks silence when its time is over, not when a clock is set", async () => {
    const { agentId, talk, engine, stage } = await open();
    const chat = talk();
    chat.send({ agentId });
    await quiet();
    const heartbeats = (): number => chat.messages.filter(is("1 heartbeat")).length;
    for (const byMs of [86_400_000, -2 * 86_400_000]) {
      const before = heartbeats();
      stage.clock.jump(byMs);
      await quiet();
      stage.clock.advance(heartbeatMs - 1);
      await quiet();
      expect(heartbeats()).toBe(before);
      stage.clock.advance(1);
      await quiet();
      expect(heartbeats()).toBe(before + 1);
    }
    chat.halfClose();
    expect(await chat.ended).toBeNull();
    await engine.drain();
  });

  test("breaks silence by heartbeats that carry the last sequence", async () => {
    const { agentId, talk, engine, stage } = await open();
    const chat = talk();
    chat.send({ agentId });
    await quiet();
    stage.clock.advance(heartbeatMs - 1);
    await quiet();
    expect(all(chat.messages)).toEqual([]);
    stage.clock.advance(1);
    await chat.until("a heartbeat", is("1 heartbeat"));
    chat.halfClose();
    expect(await chat.ended).toBeNull();
    await engine.drain();
  });

  test("pauses, resumes and cancels, each acknowledged by the status it led to", async () => {
    const model = makePlayedModel((_request, number) => ({
      text: ["one ", "two"],
      before: async (index, signal) => {
        if (number < 3 && index === 1) await aborted(signal);
      },
    }));
    const { agentId, talk, engine } = await open(model);
    const chat = talk();
    chat.send({ agentId, payload: user("hi") });
    await chat.until("a piece", is("2 textDelta 0: one "));
    chat.send({ agentId, payload: { case: "pause", value: { reason: "wait" } } });
    await chat.until("the pause", is("3 paused"));
    chat.send({ agentId, payload: { case: "resume", value: {} } });
    await chat.until("the resume", is("4 waiting_for_step"));
    chat.send({ agentId, payload: { case: "cancel", value: {} } });
    chat.halfClose();
    expect(await chat.ended).toBeNull();
    expect(whole(chat.messages)).toEqual([
      "2 waiting",
      "3 paused",
      "4 waiting_for_step",
      "5 canceled",
    ]);
    await engine.drain();
  });

  test("whose client goes away stops following, and the agent goes on", async () => {
    const hold = makeGate();
    const model = makePlayedModel(() => ({ text: ["one"], before: () => hold.passed }));
    const { agentId, talk, engine, stage } = await open(model);
    await quiet();
    const timers = stage.clock.waiting();
    const chat = talk();
    chat.send({ agentId, payload: user("hi") });
    await chat.until("the acknowledgement", is("2 waiting"));
    chat.abort();
    expect(await chat.ended).toBe("Canceled");
    hold.open();
    await stage.untilSettled(agentId);
    expect(await stage.events(agentId)).toContain("ModelSpoke");
    stage.clock.advance(leaseTtlMs);
    await quiet();
    expect(stage.clock.waiting()).toBe(timers);
    await engine.drain();
  });

  test.each([
    ["no first message", [], "InvalidArgument"],
    ["no agent_id", [{ payload: user("hi") }], "InvalidArgument"],
    ["an unknown agent", [{ agentId: "nobody", payload: user("hi") }], "NotFound"],
    ["a negative sequence", [{ agentId: "", resumeFromSequence: -1n }], "InvalidArgument"],
  ] as const)("refuses %s", async (_what, messages, code) => {
    const { talk, engine } = await open();
    const chat = talk();
    for (const message of messages) chat.send(message);
    chat.halfClose();
    expect(await chat.ended).toBe(code);
    await engine.drain();
  });
});
