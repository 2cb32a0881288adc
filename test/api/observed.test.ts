import { expect, test } from "bun:test";
import { EngramError } from "../../src/errors.ts";
import { turnLimits } from "../../src/limits.ts";
import { brief, openApi, openConversation } from "../support/api.ts";
import { makePlayedModel } from "../support/played-model.ts";
import { openStage, until } from "../support/stage.ts";

/** Fails at first, each time that it is asked. */
const faltering = () =>
  makePlayedModel((_request, number) => ({
    text: ["done"],
    before: async () => {
      if (number % 2 === 1) throw new EngramError("model_timeout", "slow", { transient: true });
    },
  }));

test("open streams show Observations as the agent is edited, whoever edits it", async () => {
  const stage = openStage();
  const engine = stage.start({ model: faltering() });
  const client = openApi(engine, stage);
  const agentId = await stage.create(engine, "goal", { waitForInput: true });
  const editor = openConversation(client);
  const attached = openConversation(client);
  for (const chat of [editor, attached]) chat.send({ agentId });
  const followed: string[] = [];
  const abort = new AbortController();
  const following = (async () => {
    const request = { agentId, follow: true };
    for await (const message of client.replay(request, { signal: abort.signal }))
      followed.push(brief(message));
  })();
  following.catch(() => {});

  const say = async (content: string, sequence: number): Promise<void> => {
    editor.send({ payload: { case: "userInput", value: { content } } });
    await until("the failure", async () => (await stage.events(agentId)).length === sequence);
    stage.clock.advance(2 * turnLimits.retryDelayMsFirst);
    for (const chat of [editor, attached])
      await chat.until("the answer", (message) => brief(message) === `${sequence + 1} text: done`);
  };
  const edit = async (enable_observation: boolean, sequence: number): Promise<void> => {
    const patch = { config: { enable_observation } };
    editor.send({ payload: { case: "edit", value: { patch } } });
    await attached.until("the edit", (message) => brief(message) === `${sequence} edited`);
  };
  await say("one", 3);
  await edit(true, 5);
  await say("two", 7);
  await edit(false, 9);
  await say("three", 11);

  const note = "observation: model retried: MODEL_TIMEOUT: slow";
  for (const chat of [editor, attached]) {
    const shown = chat.messages.map(brief);
    expect(shown.filter((line) => line.includes("observation"))).toEqual([`7 ${note}`]);
    expect(shown).toContain("3 waiting_for_step");
    expect(shown).toContain("11 waiting_for_step");
  }
  await until("the last answer", () => followed.includes("12 text: done"));
  expect(followed).toEqual(["4 text: done", `7 ${note}`, "8 text: done", "12 text: done"]);
  abort.abort();
  for (const chat of [editor, attached]) chat.abort();
  await engine.drain();
});

test("what was edited before a stream begins holds for all that it shows", async () => {
  const stage = openStage();
  const engine = stage.start({ model: faltering() });
  const client = openApi(engine, stage);
  const agentId = await stage.create(engine, "goal", { waitForInput: true });
  const chat = openConversation(client);
  const patch = { config: { enable_observation: true } };
  chat.send({ agentId, payload: { case: "userInput", value: { content: "hi" } } });
  await until("the failure", async () => (await stage.events(agentId)).length === 3);
  stage.clock.advance(2 * turnLimits.retryDelayMsFirst);
  chat.send({ payload: { case: "edit", value: { patch } } });
  chat.halfClose();
  expect(await chat.ended).toBeNull();
  const replayed: string[] = [];
  for await (const message of client.replay({ agentId })) replayed.push(brief(message));
  expect(replayed[0]).toBe("3 observation: model retried: MODEL_TIMEOUT: slow");
  await engine.drain();
});
