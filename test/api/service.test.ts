import { describe, expect, test } from "bun:test";
import { aborted, askedOf, makePlayedModel, type PlayedModel } from "../support/played-model.ts";
import { brief, codeOf, openApi } from "../support/api.ts";
import { EngramError } from "../../src/errors.ts";
import { echoing, makeGate, openStage, quiet, until } from "../support/stage.ts";

const open = (model: PlayedModel = echoing()) => {
  const stage = openStage();
  const engine = stage.start({ model });
  return { stage, engine, client: openApi(engine, stage) };
};

const said = (content: string) => ({ content });

const usesTools = () =>
  makePlayedModel(({ messages }) =>
    messages.some(({ role }) => role === "tool")
      ? { text: ["done"] }
      : {
          text: ["let me see"],
          calls: [{ name: askedOf(messages), input: { n: 1 } }],
        },
  );

describe("SendMessage", () => {
  test("answers when the agent rests: the last text, and the tools' results", async () => {
    const { stage, engine, client } = open(usesTools());
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const answer = await client.sendMessage({ agentId, userInput: said("echo") });
    expect(answer).toMatchObject({
      text: "done",
      toolResults: [{ callId: "call_4", output: '{"n":1}', isError: false }],
      agent: { status: "waiting_for_input", stats: { totalSteps: 2, toolCalls: 1 } },
    });
    expect([answer.finalAnswer, answer.error]).toEqual([undefined, undefined]);
    await engine.drain();
  });

  test("answers when a tool waits for its confirmation", async () => {
    const { stage, engine, client } = open(usesTools());
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const answer = await client.sendMessage({ agentId, userInput: said("risky") });
    expect(answer).toMatchObject({
      text: "let me see",
      agent: { status: "waiting_for_confirmation" },
    });
    await engine.drain();
  });

  test("tells what the turn failed with", async () => {
    const refusing = makePlayedModel(() => ({
      text: ["x"],
      before: () => Promise.reject(new EngramError("model_not_found", "there is no such model")),
    }));
    const { stage, engine, client } = open(refusing);
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const answer = await client.sendMessage({ agentId, userInput: said("hi") });
    expect(answer).toMatchObject({
      agent: { status: "failed" },
      error: { code: "MODEL_NOT_FOUND", message: "there is no such model" },
    });
    expect(await codeOf(client.sendMessage({ agentId, userInput: said("hi") }))).toBe(
      "FailedPrecondition",
    );
    await engine.drain();
  });

  test("gives the final answer", async () => {
    const final = makePlayedModel(() => ({
      calls: [{ name: "final_answer", input: { content: "42", structured: { n: 42 } } }],
    }));
    const { stage, engine, client } = open(final);
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    expect(await client.sendMessage({ agentId, userInput: said("hi") })).toMatchObject({
      finalAnswer: { content: "42", structured: { n: 42 } },
      agent: { status: "completed" },
    });
    await engine.drain();
  });

  test("past its time fails while the agent goes on, and a repetition waits for the same turn", async () => {
    const hold = makeGate();
    const model = makePlayedModel(({ messages }) => ({
      text: ["about ", askedOf(messages)],
      before: async () => hold.passed,
    }));
    const { stage, engine, client } = open(model);
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const request = { agentId, messageId: "m", userInput: said("hi") };
    const timed = codeOf(client.sendMessage({ ...request, timeout: { seconds: 2n, nanos: 0 } }));
    await until("the model is called", () => model.calls.length === 1);
    let isOver = false;
    void timed.finally(() => (isOver = true));
    for (const byMs of [86_400_000, -86_400_000, -86_400_000, 0]) {
      expect(isOver).toBe(false);
      // A clock that is set is no time that passes.
      stage.clock.jump(byMs);
      await quiet();
      expect(isOver).toBe(false);
      stage.clock.advance(500);
      await quiet();
    }
    expect(await timed).toBe("DeadlineExceeded");
    const again = client.sendMessage(request);
    await quiet();
    hold.open();
    expect((await again).text).toBe("about hi");
    await client.sendMessage({ agentId, userInput: said("else") });
    // Long over by now, the turn is still the same.
    expect((await client.sendMessage(request)).text).toBe("about hi");
    expect(await codeOf(client.sendMessage({ ...request, userInput: said("ho") }))).toBe(
      "AlreadyExists",
    );
    expect((await stage.events(agentId)).filter((type) => type === "MessageReceived").length).toBe(
      2,
    );
    await engine.drain();
  });

  test("whose client goes away leaves the agent to go on", async () => {
    const hold = makeGate();
    const model = makePlayedModel(() => ({ text: ["one"], before: () => hold.passed }));
    const { stage, engine, client } = open(model);
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const abort = new AbortController();
    const asked = codeOf(
      client.sendMessage({ agentId, userInput: said("hi") }, { signal: abort.signal }),
    );
    await until("the model is called", () => model.calls.length === 1);
    abort.abort();
    expect(await asked).toBe("Canceled");
    hold.open();
    await stage.untilSettled(agentId);
    await engine.drain();
  });

  test.each([
    ["an empty message", {}, "InvalidArgument"],
    ["a negative timeout", { userInput: said("x"), timeout: { seconds: -1n } }, "InvalidArgument"],
    [
      "a file that no model takes",
      {
        userInput: {
          content: "x",
          attachments: [{ name: "a", mimeType: "video/mp4", data: new Uint8Array() }],
        },
      },
      "InvalidArgument",
    ],
    ["an unknown agent", { agentId: "nobody", userInput: said("x") }, "NotFound"],
    ["a nameless agent", { agentId: "", userInput: said("x") }, "InvalidArgument"],
  ])("refuses %s, and records nothing", async (_what, request, code) => {
    const { stage, engine, client } = open();
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    expect(await codeOf(client.sendMessage({ agentId, ...request }))).toBe(code);
    expect(await stage.events(agentId)).toEqual(["AgentCreated"]);
    await engine.drain();
  });
});

describe("ListAgents", () => {
  const some = async (count: number) => {
    const at = open();
    const agentIds: string[] = [];
    for (let index = 0; index < count; index++)
      agentIds.unshift(
        await at.stage.create(at.engine, `${index}`, { waitForInput: index % 2 === 0 }),
      );
    for (const agentId of agentIds) await at.stage.untilSettled(agentId);
    return { ...at, agentIds };
  };

  test("pages newest first, and stays in place while agents come and go", async () => {
    const { client, engine, agentIds, stage } = await some(5);
    const first = await client.listAgents({ pageSize: 2 });
    expect(first.agents.map((agent) => agent.agentId)).toEqual(agentIds.slice(0, 2));
    await stage.create(engine, "new", { waitForInput: true });
    await client.deleteAgent({ agentId: agentIds[1]! });
    const second = await client.listAgents({ pageSize: 2, pageToken: first.nextPageToken });
    expect(second.agents.map((agent) => agent.agentId)).toEqual(agentIds.slice(2, 4));
    const third = await client.listAgents({ pageSize: 2, pageToken: second.nextPageToken });
    expect(third.agents.map((agent) => agent.agentId)).toEqual(agentIds.slice(4));
    expect(third.nextPageToken).toBe("");
    await engine.drain();
  });

  test("has no next page behind a page that is just full", async () => {
    const { client, engine } = await some(2);
    expect((await client.listAgents({ pageSize: 2 })).nextPageToken).toBe("");
    expect((await client.listAgents({})).agents.length).toBe(2);
    await engine.drain();
  });

  test("takes only those of a status", async () => {
    const { client, engine, agentIds } = await some(3);
    await client.controlAgent({
      agentId: agentIds[0]!,
      command: { case: "pause", value: { reason: "later" } },
    });
    const paused = await client.listAgents({ statusFilter: "paused" });
    expect(paused.agents).toMatchObject([{ agentId: agentIds[0], statusReason: "later" }]);
    expect((await client.listAgents({ statusFilter: "waiting_for_input" })).agents.length).toBe(2);
    expect((await client.listAgents({ statusFilter: "failed" })).agents).toEqual([]);
    await engine.drain();
  });

  test.each([
    ["an unknown status", { statusFilter: "asleep" }],
    ["a negative size", { pageSize: -1 }],
    ["a made-up token", { pageToken: "bm90IGFuIGlk" }],
    ["a token that is no token", { pageToken: "?" }],
  ])("refuses %s", async (_what, request) => {
    const { client, engine } = open();
    expect(await codeOf(client.listAgents(request))).toBe("InvalidArgument");
    await engine.drain();
  });
});

describe("SetAgentStatus and ControlAgent", () => {
  test("know the words that can be set, and the moves that can be made", async () => {
    const { stage, engine, client } = open();
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const set = async (status: string): Promise<string> =>
      (await client.setAgentStatus({ agentId, status })).status;
    expect(await set("paused")).toBe("paused");
    expect(await set("paused")).toBe("paused");
    expect(await set("waiting_for_step")).toBe("waiting_for_input");
    for (const word of ["processing", "completed", "failed", "waiting_for_input", "", "Paused"])
      expect(await codeOf(set(word))).toBe("InvalidArgument");
    expect(await set("canceled")).toBe("canceled");
    expect(await set("canceled")).toBe("canceled");
    expect(await codeOf(set("paused"))).toBe("FailedPrecondition");
    expect(await codeOf(set("waiting_for_step"))).toBe("FailedPrecondition");
    expect(await stage.events(agentId)).toEqual([
      "AgentCreated",
      "AgentPaused",
      "AgentResumed",
      "AgentCanceled",
    ]);
    await engine.drain();
  });

  test("retry a failed agent, and no other", async () => {
    const model = makePlayedModel((_request, number) => ({
      text: ["fine"],
      before: async () => {
        if (number === 1) throw new EngramError("model_error", "no");
      },
    }));
    const { stage, engine, client } = open(model);
    const agentId = await stage.create(engine, "goal");
    await stage.untilStatus(agentId, "failed");
    expect((await client.setAgentStatus({ agentId, status: "waiting_for_step" })).status).toBe(
      "waiting_for_step",
    );
    await stage.untilStatus(agentId, "waiting_for_input");
    const retry = { agentId, command: { case: "retry", value: {} } } as const;
    expect(await codeOf(client.controlAgent(retry))).toBe("FailedPrecondition");
    expect(await codeOf(client.controlAgent({ agentId }))).toBe("InvalidArgument");
    await engine.drain();
  });

  test("confirm once; the same again is fine, the opposite is refused", async () => {
    const { stage, engine, client } = open(usesTools());
    const agentId = await stage.create(engine, "risky");
    await stage.untilStatus(agentId, "waiting_for_confirmation");
    const confirm = (callId: string, approve: boolean) =>
      client.controlAgent({
        agentId,
        command: { case: "confirm", value: { callId, approve, reason: "no thanks" } },
      });
    expect(await codeOf(confirm("call_99", true))).toBe("NotFound");
    const { callId } = (await stage.state(agentId)).pendingCalls[0]!;
    await confirm(callId, false);
    await stage.untilSettled(agentId);
    await confirm(callId, false);
    expect(await codeOf(confirm(callId, true))).toBe("FailedPrecondition");
    const returned = (await stage.log(agentId)).find(({ event }) => event.type === "ToolReturned");
    expect(returned?.event).toMatchObject({ error: { code: "TOOL_REJECTED" } });
    await engine.drain();
  });
});

describe("CreateAgent and ForkAgent", () => {
  const request = { goal: "hello", model: "m", requestId: "r" };

  test("make one agent of a repeated request_id", async () => {
    const { engine, client } = open();
    const first = await client.createAgent(request);
    expect(first.agent).toMatchObject({ status: "waiting_for_step", headSequence: 1n });
    expect((await client.createAgent(request)).agentId).toBe(first.agentId);
    expect(await codeOf(client.createAgent({ ...request, goal: "other" }))).toBe("AlreadyExists");
    const fork = { agentId: first.agentId, atSequence: 1n, requestId: "f" };
    const forked = await client.forkAgent(fork);
    expect(forked.agent).toMatchObject({
      parentAgentId: first.agentId,
      forkedAtSequence: 1n,
      status: "waiting_for_input",
    });
    expect((await client.forkAgent(fork)).agentId).toBe(forked.agentId);
    await engine.drain();
  });

  test.each([
    ["goal", { goal: " " }],
    ["model", { model: "" }],
    ["config.max_steps", { config: { maxSteps: -1 } }],
    ["config.max_duration", { config: { maxDuration: { seconds: -1n } } }],
    ["config.max_total_tokens", { config: { maxTotalTokens: 2n ** 60n } }],
    ["config.temperature", { config: { temperature: 9 } }],
    ["metadata", { metadata: { "": "x" } }],
    ["tools", { tools: [{ name: "a/b" }] }],
    ["request_id", { requestId: "r".repeat(257) }],
  ])("refuse a bad %s by its name", async (field, over) => {
    const { engine, client } = open();
    const call = client.createAgent({ ...request, ...over });
    const error = await call.then(
      () => null,
      (fault: unknown) => fault,
    );
    expect(error).toMatchObject({ code: 3, rawMessage: expect.stringContaining(field) });
    expect((await client.listAgents({})).agents).toEqual([]);
    await engine.drain();
  });

  test("know no place in a log that is not there", async () => {
    const { stage, engine, client } = open();
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    expect(await codeOf(client.forkAgent({ agentId, atSequence: 2n }))).toBe("NotFound");
    expect(await codeOf(client.forkAgent({ agentId, atSequence: -1n }))).toBe("InvalidArgument");
    await engine.drain();
  });
});

describe("DeleteAgent and Replay", () => {
  test("a working agent is deleted by force only", async () => {
    const model = makePlayedModel(() => ({
      text: ["x"],
      before: async (_index, signal) => aborted(signal),
    }));
    const { stage, engine, client } = open(model);
    const agentId = await stage.create(engine, "goal");
    expect(await codeOf(client.deleteAgent({ agentId }))).toBe("FailedPrecondition");
    await client.deleteAgent({ agentId, force: true });
    expect(await codeOf(client.getAgent({ agentId }))).toBe("NotFound");
    expect(await codeOf(client.deleteAgent({ agentId }))).toBe("NotFound");
    await engine.drain();
  });

  test("a log is shown again, from a place on, with its history or without", async () => {
    const { stage, engine, client } = open();
    const agentId = await stage.create(engine, "goal");
    await stage.untilSettled(agentId);
    await stage.say(engine, agentId, "hi");
    await stage.untilSettled(agentId);
    const replayed = async (over: object): Promise<readonly string[]> => {
      const lines: string[] = [];
      for await (const message of client.replay({ agentId, ...over })) lines.push(brief(message));
      return lines;
    };
    const outputs = ["2 text: you said: goal", "4 text: you said: hi"];
    expect(await replayed({})).toEqual(outputs);
    expect(await replayed({ fromSequence: 2n })).toEqual(outputs);
    expect(await replayed({ fromSequence: 3n })).toEqual(outputs.slice(1));
    expect(await replayed({ fromSequence: 9n })).toEqual([]);
    expect(await replayed({ includeHistory: true, fromSequence: 1n })).toEqual([
      "1 created",
      outputs[0]!,
      "3 user_input",
      outputs[1]!,
    ]);
    expect(await codeOf(replayed({ agentId: "" }))).toBe("InvalidArgument");
    expect(await codeOf(replayed({ agentId: "nobody" }))).toBe("NotFound");
    await engine.drain();
  });
});
