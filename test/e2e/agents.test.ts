import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { Code } from "@connectrpc/connect";
import {
  createAgent,
  historyOf,
  is,
  openChat,
  refusalOf,
  talk,
  valuesOf,
} from "../support/conversation.ts";
import { type EngineProcess, openEngine } from "../support/engine-process.ts";

setDefaultTimeout(60_000);

let engine: EngineProcess;
beforeAll(async () => {
  engine = await openEngine({ HEARTBEAT_MS: "100" });
});
afterAll(() => engine[Symbol.asyncDispose]());

const textsIn = (messages: Parameters<typeof valuesOf>[0]): readonly string[] =>
  valuesOf(messages, "text").map(({ content }) => content);

test("an agent starts on its goal at once, and rests when it has answered", async () => {
  const { agentId, agent } = await engine.client.createAgent({
    goal: "say good morning",
    model: "scripted:instant",
    metadata: { team: "red" },
  });
  expect(agent).toMatchObject({ status: "waiting_for_step", headSequence: 1n });
  await using chat = openChat(engine.client, agentId, { after: 1n });
  await chat.end();
  expect(chat.listener.texts).toEqual(["good morning"]);
  const after = await engine.client.getAgent({ agentId });
  expect(after).toMatchObject({
    status: "waiting_for_input",
    model: "scripted:instant",
    metadata: { team: "red" },
  });
  expect(after.stats?.totalSteps).toBe(1);
  expect(after.agentId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/);
});

test("a final answer completes the agent, and input reopens it", async () => {
  const agentId = await createAgent(engine.client);
  const heard = await talk(engine.client, agentId, 'finish with {"sum": 3}');
  const [answer] = valuesOf(heard, "finalAnswer");
  expect(answer?.structured).toEqual({ sum: 3 });
  expect((await engine.client.getAgent({ agentId })).status).toBe("completed");
  expect(textsIn(await talk(engine.client, agentId, "say more"))).toEqual(["more"]);
  expect((await engine.client.getAgent({ agentId })).status).toBe("waiting_for_input");
});

test("a message id is recorded once, across clients, ways and restarts", async () => {
  await using other = await openEngine();
  const agentId = await createAgent(other.client);
  const say = async (content: string): Promise<readonly bigint[]> => {
    await using chat = openChat(other.client, agentId);
    chat.say(content, "m1");
    const heard = await chat.end();
    return heard.filter(is("status")).map(({ sequenceId }) => sequenceId);
  };
  expect(await say("say hello")).toEqual([2n]);
  expect(await say("say hello")).toEqual([2n]);
  await other.kill();
  await other.start();
  expect(await say("say hello")).toEqual([2n]);
  const sent = (content: string) =>
    other.client.sendMessage({ agentId, messageId: "m1", userInput: { content } });
  expect((await sent("say hello")).text).toBe("hello");
  expect((await refusalOf(sent("say something else"))).code).toBe(Code.AlreadyExists);
  expect((await refusalOf(say("say something else"))).code).toBe(Code.AlreadyExists);
  expect((await historyOf(other.client, agentId)).length).toBe(3);
});

test("a request id makes one agent, across restarts", async () => {
  await using other = await openEngine();
  const make = (goal: string) =>
    other.client.createAgent({
      goal,
      model: "scripted",
      requestId: "r1",
      config: { waitForInput: true },
    });
  const made = await Promise.all(Array.from({ length: 16 }, () => make("one")));
  await other.kill();
  await other.start();
  const again = await make("one");
  expect(new Set([...made, again].map(({ agentId }) => agentId)).size).toBe(1);
  const refused = await refusalOf(make("two"));
  expect(refused.code).toBe(Code.AlreadyExists);
  expect((await other.client.listAgents({})).agents.length).toBe(1);
  const { agentId } = again;
  const fork = () => other.client.forkAgent({ agentId, requestId: "f1" });
  expect((await fork()).agentId).toBe((await fork()).agentId);
});

test("a fork has the log up to a place and goes its own way from there", async () => {
  const agentId = await createAgent(engine.client, { metadata: { team: "red" } });
  await talk(engine.client, agentId, "The code is 1.");
  await talk(engine.client, agentId, "The code is 2.");
  const fork = await engine.client.forkAgent({
    agentId,
    atSequence: 3n,
    metadata: { kind: "fork" },
  });
  expect(fork.agent).toMatchObject({
    parentAgentId: agentId,
    forkedAtSequence: 3n,
    status: "waiting_for_input",
    metadata: { team: "red", kind: "fork" },
  });
  const ask = async (id: string): Promise<string | undefined> =>
    textsIn(await talk(engine.client, id, "What is the code?"))[0];
  expect([await ask(fork.agentId), await ask(agentId)]).toEqual([
    "The code is 1.",
    "The code is 2.",
  ]);
  const [ours, theirs] = [
    await historyOf(engine.client, fork.agentId),
    await historyOf(engine.client, agentId),
  ];
  const shown = (log: typeof ours) =>
    log.slice(0, 3).map(({ payload, timestamp }) => ({ payload, timestamp }));
  expect(shown(ours)).toEqual(shown(theirs));
  const beyond = engine.client.forkAgent({ agentId, atSequence: 99n });
  const refusal = await refusalOf(beyond);
  expect(refusal.code).toBe(Code.InvalidArgument);
  expect(refusal.rawMessage).toContain("at_sequence");
  // A fork of an agent that is done, or working, rests all the same.
  await engine.client.setAgentStatus({ agentId, status: "canceled" });
  expect((await engine.client.forkAgent({ agentId })).agent?.status).toBe("waiting_for_input");
});

test("Replay sends the log again with its times: output alone, or all, or on as it grows", async () => {
  const agentId = await createAgent(engine.client);
  await talk(engine.client, agentId, "say one");
  const history = await historyOf(engine.client, agentId);
  expect(history.map(({ payload }) => payload.case)).toEqual(["status", "status", "text"]);
  expect(history[1]?.payload.value).toMatchObject({ status: "user_input", message: "say one" });
  const replayed = async (fromSequence: bigint, includeHistory: boolean) => {
    const messages = [];
    for await (const message of engine.client.replay({ agentId, fromSequence, includeHistory }))
      messages.push(message);
    return messages;
  };
  expect(await replayed(1n, false)).toEqual([history[2]!]);
  expect(await replayed(0n, true)).toEqual([...history]);
  expect(await replayed(3n, true)).toEqual([history[2]!]);
  expect(await replayed(4n, true)).toEqual([]);

  const request = { agentId, fromSequence: 3n, includeHistory: true, follow: true };
  const followed = engine.client.replay(request)[Symbol.asyncIterator]();
  const next = async () => (await followed.next()).value;
  expect(await next()).toEqual(history[2]!);
  expect((await next())?.payload.case).toBe("heartbeat");
  await talk(engine.client, agentId, "say two");
  const live = [];
  while (live.length < 2) {
    const message = await next();
    if (message !== undefined && message.payload.case !== "heartbeat") live.push(message);
  }
  expect(live).toEqual([...(await replayed(4n, true))]);
  await followed.return?.();
  const unknown = engine.client.replay({ agentId: "nobody" })[Symbol.asyncIterator]().next();
  expect((await refusalOf(unknown)).code).toBe(Code.NotFound);
});

test("a stream goes on behind any event, without gap or double", async () => {
  const agentId = await createAgent(engine.client);
  await talk(engine.client, agentId, "say one");
  const history = await historyOf(engine.client, agentId);
  for (let after = 1; after <= history.length; after++) {
    await using chat = openChat(engine.client, agentId, { after: BigInt(after) });
    expect(await chat.end()).toEqual(history.slice(after));
  }
  await using ahead = openChat(engine.client, agentId, { after: 99n });
  expect((await refusalOf(ahead.end())).code).toBe(Code.InvalidArgument);
  await using nobody = openChat(engine.client, "nobody");
  expect((await refusalOf(nobody.end())).code).toBe(Code.NotFound);
  await using nameless = openChat(engine.client, "");
  const refused = await refusalOf(nameless.end());
  expect([refused.code, refused.rawMessage]).toEqual([
    Code.InvalidArgument,
    expect.stringContaining("agent_id"),
  ]);
});

test("an edit changes the agent in both forms of a patch, and starts nothing by itself", async () => {
  const agentId = await createAgent(engine.client, { metadata: { team: "red", room: "4" } });
  const edit = async (patch: object, description = "") => {
    await using chat = openChat(engine.client, agentId);
    chat.send({ payload: { case: "edit", value: { patch: patch as never, description } } });
    return await chat.end();
  };
  const heard = await edit({
    goal: "help them",
    systemPrompt: "Be brief.",
    metadata: { team: null, floor: "2" },
    config: { maxSteps: 3 },
  });
  expect(valuesOf(heard, "status").length).toBe(1);
  await edit(
    {
      json_patch: [
        { op: "replace", path: "/model", value: "scripted:1" },
        { op: "add", path: "/metadata/desk", value: "7" },
      ],
    },
    "Use the faster model.",
  );
  const agent = await engine.client.getAgent({ agentId });
  expect(agent).toMatchObject({
    goal: "help them",
    systemPrompt: "Be brief.",
    model: "scripted:1",
    metadata: { room: "4", floor: "2", desk: "7" },
    status: "waiting_for_input",
    config: { maxSteps: 3, waitForInput: true },
  });
  for (const patch of [
    { goal: "" },
    { status: "failed" },
    { json_patch: [{ op: "replace", path: "/agentId", value: "x" }] },
    { json_patch: [{ op: "fly", path: "/goal" }] },
    { config: { maxSteps: "many" } },
  ])
    expect((await refusalOf(edit(patch))).code).toBe(Code.InvalidArgument);
  expect((await engine.client.getAgent({ agentId })).headSequence).toBe(agent.headSequence);
});

test("a deleted agent is gone but for its tombstone, and a working one needs force", async () => {
  const agentId = await createAgent(engine.client, { model: "scripted:20" });
  await using chat = openChat(engine.client, agentId);
  chat.say("write 200 words");
  await chat.until(is("textDelta"));
  const refused = await refusalOf(engine.client.deleteAgent({ agentId }));
  expect(refused.code).toBe(Code.FailedPrecondition);
  const [end] = await Promise.all([
    chat.broken(),
    engine.client.deleteAgent({ agentId, force: true }),
  ]);
  expect(end.code).toBe(Code.NotFound);
  const calls = [
    () => engine.client.getAgent({ agentId }),
    () => engine.client.deleteAgent({ agentId, force: true }),
    () => historyOf(engine.client, agentId),
    () => talk(engine.client, agentId, "hello"),
  ];
  for (const call of calls) expect((await refusalOf(call())).code).toBe(Code.NotFound);
});

test("agents are listed newest first, page by page, while others come and go", async () => {
  await using other = await openEngine();
  const made: string[] = [];
  for (let n = 0; n < 7; n++) made.push(await createAgent(other.client));
  await other.client.setAgentStatus({ agentId: made[2]!, status: "paused" });
  const first = await other.client.listAgents({ pageSize: 3 });
  // One that came later and one that went do not shift the pages.
  await createAgent(other.client);
  await other.client.deleteAgent({ agentId: made[5]! });
  const second = await other.client.listAgents({ pageSize: 3, pageToken: first.nextPageToken });
  const third = await other.client.listAgents({ pageSize: 3, pageToken: second.nextPageToken });
  const ids = [first, second, third].flatMap(({ agents }) => agents.map(({ agentId }) => agentId));
  expect(ids).toEqual(made.toReversed());
  expect([second.nextPageToken === "", third.nextPageToken]).toEqual([false, ""]);
  const paused = await other.client.listAgents({ statusFilter: "paused" });
  expect(paused.agents.map(({ agentId }) => agentId)).toEqual([made[2]!]);
  for (const wrong of [{ statusFilter: "busy" }, { pageSize: -1 }, { pageToken: "!" }])
    expect((await refusalOf(other.client.listAgents(wrong))).code).toBe(Code.InvalidArgument);
});
