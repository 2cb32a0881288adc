import { toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "bun:test";
import { aborted, makePlayedModel } from "../support/played-model.ts";
import { brief, codeOf, heartbeatMs, openService, usesTools } from "../support/api.ts";
import { nested } from "../support/events.ts";
import { EngramError } from "../../src/errors.ts";
import { ListAgentsResponseSchema } from "../../src/gen/engram/api/v1/agent_pb.ts";
import { requestLimits } from "../../src/limits.ts";
import { makeGate, quiet } from "../support/stage.ts";

describe("ListAgents", () => {
  const some = async (count: number) => {
    const at = openService();
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

  test("gives as many as were asked for, however many are read at once", async () => {
    const { client, engine, agentIds } = await some(requestLimits.listedAtOnce + 5);
    const pageSize = requestLimits.listedAtOnce + 3;
    const first = await client.listAgents({ pageSize });
    expect(first.agents.map(({ agentId }) => agentId)).toEqual(agentIds.slice(0, pageSize));
    const second = await client.listAgents({ pageSize, pageToken: first.nextPageToken });
    expect(second.agents.map(({ agentId }) => agentId)).toEqual(agentIds.slice(pageSize));
    expect(second.nextPageToken).toBe("");
    await engine.drain();
  });

  test("ends a page before it is larger than clients take", async () => {
    const { client, engine } = openService();
    const made: string[] = [];
    const description = "x".repeat(requestLimits.answerBytesMax / 3);
    for (let n = 0; n < 7; n++) {
      const tools = [{ name: "large", description }];
      const config = { waitForInput: true };
      made.unshift((await client.createAgent({ goal: "g", model: "m", config, tools })).agentId);
    }
    const pages: string[][] = [];
    let pageToken = "";
    do {
      const page = await client.listAgents({ pageToken });
      const { length } = toBinary(ListAgentsResponseSchema, page);
      expect(length).toBeLessThan(requestLimits.messageBytesMax);
      pages.push(page.agents.map(({ agentId }) => agentId));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(pages.flat()).toEqual(made);
    expect(pages.map(({ length }) => length)).toEqual([2, 2, 2, 1]);
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

  test("stays in place while the statuses that it asks for change", async () => {
    const { client, engine, agentIds } = await some(6);
    const resting = { statusFilter: "waiting_for_input", pageSize: 2 };
    const first = await client.listAgents(resting);
    // One that was shown, and one that is still to come.
    for (const agentId of [agentIds[1]!, agentIds[3]!])
      await client.setAgentStatus({ agentId, status: "paused" });
    const second = await client.listAgents({ ...resting, pageToken: first.nextPageToken });
    await client.setAgentStatus({ agentId: agentIds[1]!, status: "waiting_for_step" });
    expect(first.agents.map(({ agentId }) => agentId)).toEqual(agentIds.slice(0, 2));
    expect(second.agents.map(({ agentId }) => agentId)).toEqual([agentIds[2]!, agentIds[4]!]);
    const third = await client.listAgents({ ...resting, pageToken: second.nextPageToken });
    expect(third.agents.map(({ agentId }) => agentId)).toEqual(agentIds.slice(5));
    await engine.drain();
  });

  test("gives a thousand at a time, however many are asked for", async () => {
    const { client, engine } = openService();
    const wishes = { goal: "g", model: "m", config: { waitForInput: true } };
    await Promise.all(Array.from({ length: 1_001 }, () => client.createAgent(wishes)));
    const first = await client.listAgents({ pageSize: 1_001 });
    expect(first.agents.length).toBe(1_000);
    const second = await client.listAgents({ pageSize: 1_001, pageToken: first.nextPageToken });
    expect([second.agents.length, second.nextPageToken]).toEqual([1, ""]);
    await engine.drain();
  });

  test.each([
    ["an unknown status", { statusFilter: "asleep" }],
    ["a negative size", { pageSize: -1 }],
    ["a made-up token", { pageToken: "bm90IGFuIGlk" }],
    ["a token that is no token", { pageToken: "?" }],
  ])("refuses %s", async (_what, request) => {
    const { client, engine } = openService();
    expect(await codeOf(client.listAgents(request))).toBe("InvalidArgument");
    await engine.drain();
  });
});

describe("SetAgentStatus and ControlAgent", () => {
  test("know the words that can be set, and the moves that can be made", async () => {
    const { stage, engine, client } = openService();
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
    const { stage, engine, client } = openService(model);
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
    const { stage, engine, client } = openService(usesTools());
    const agentId = await stage.create(engine, "risky");
    await stage.untilStatus(agentId, "waiting_for_confirmation");
    const confirm = (callId: string, approve: boolean) =>
      client.controlAgent({
        agentId,
        command: { case: "confirm", value: { callId, approve, reason: "no thanks" } },
      });
    expect(await codeOf(confirm("call_99", true))).toBe("NotFound");
    expect(await codeOf(confirm("", true))).toBe("InvalidArgument");
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
    const { engine, client } = openService();
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
    ["config.max_duration", { config: { maxDuration: { nanos: -500_000 } } }],
    ["config.max_duration", { config: { maxDuration: { seconds: 1n, nanos: -1 } } }],
    ["config.max_total_tokens", { config: { maxTotalTokens: 2n ** 60n } }],
    ["config.temperature", { config: { temperature: 9 } }],
    ["metadata", { metadata: { "": "x" } }],
    ["tools", { tools: [{ name: "a/b" }] }],
    ["tools[0].parameters_schema.type", { tools: [{ name: "a", parametersSchema: { type: 17 } }] }],
    ["config.response_schema", { config: { responseSchema: { $ref: "#/nowhere" } } }],
    ["config.response_schema", { config: { responseSchema: JSON.parse(nested(31)) } }],
    ["request_id", { requestId: "r".repeat(257) }],
  ])("refuse a bad %s by its name", async (field, over) => {
    const { engine, client } = openService();
    const call = client.createAgent({ ...request, ...over });
    const error = await call.then(
      () => null,
      (fault: unknown) => fault,
    );
    expect(error).toMatchObject({ code: 3, rawMessage: expect.stringContaining(field) });
    expect((await client.listAgents({})).agents).toEqual([]);
    await engine.drain();
  });

  test("count a fork's metadata with its parent's", async () => {
    const { engine, client } = openService();
    const half = (of: string) =>
      Object.fromEntries(Array.from({ length: 33 }, (_, at) => [`${of}${at}`, "v"]));
    const { agentId } = await client.createAgent({ ...request, metadata: half("a") });
    const fork = (metadata: Record<string, string>) => client.forkAgent({ agentId, metadata });
    await expect(fork(half("b"))).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("metadata has 66 entries"),
    });
    expect(Object.keys((await fork(half("a"))).agent?.metadata ?? {}).length).toBe(33);
    await engine.drain();
  });

  test("know no place in a log that is not there", async () => {
    const { stage, engine, client } = openService();
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    expect(await codeOf(client.forkAgent({ agentId, atSequence: 2n }))).toBe("InvalidArgument");
    expect(await codeOf(client.forkAgent({ agentId: "nobody" }))).toBe("NotFound");
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
    const { stage, engine, client } = openService(model);
    const agentId = await stage.create(engine, "goal");
    expect(await codeOf(client.deleteAgent({ agentId }))).toBe("FailedPrecondition");
    await client.deleteAgent({ agentId, force: true });
    expect(await codeOf(client.getAgent({ agentId }))).toBe("NotFound");
    expect(await codeOf(client.deleteAgent({ agentId }))).toBe("NotFound");
    await engine.drain();
  });

  test("a log is shown again, from a place on, with its history or without", async () => {
    const { stage, engine, client } = openService();
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

  test("a log that is followed breaks its silence while an answer is written that it does not show", async () => {
    const pieces = Array.from({ length: 40 }, (_, n) => `w${n} `);
    const gates = pieces.map(() => makeGate());
    const model = makePlayedModel(() => ({
      text: pieces,
      before: async (index) => gates[index]?.passed,
    }));
    const { stage, engine, client } = openService(model);
    const agentId = await stage.create(engine, "goal");
    const lines: string[] = [];
    const abort = new AbortController();
    const read = async (): Promise<void> => {
      const request = { agentId, fromSequence: 2n, follow: true };
      for await (const message of client.replay(request, { signal: abort.signal }))
        lines.push(brief(message));
    };
    const ended = codeOf(read());
    await quiet();
    for (const gate of gates.slice(0, 30)) {
      gate.open();
      await quiet();
      stage.clock.advance(heartbeatMs / 10);
      await quiet();
    }
    expect(lines).toEqual(["1 heartbeat", "1 heartbeat", "1 heartbeat"]);
    abort.abort();
    expect(await ended).toBe("Canceled");
    for (const gate of gates) gate.open();
    await engine.drain();
  });
});
