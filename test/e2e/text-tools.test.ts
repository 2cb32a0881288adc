import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { createAgent, historyOf, openChat, talk, valuesOf } from "../support/conversation.ts";
import { openEngine } from "../support/engine-process.ts";
import { makeListener } from "../support/listener.ts";
import { numbersIn, numbersTo, wordsIn } from "../support/numbered-words.ts";

setDefaultTimeout(60_000);

const settings = { TOOLS_PATH: join(import.meta.dir, "..", "..", "tools") };

test("a model without tool support calls tools in its text, and its client sees none of that", async () => {
  await using engine = await openEngine(settings);
  const agentId = await createAgent(engine.client, { model: "scripted:text:instant" });
  const heard = await talk(engine.client, agentId, "say so then compute 6*7 then finish with {}");
  expect(valuesOf(heard, "toolCall").map((call) => [call.toolName, call.inputJson])).toEqual([
    ["calculator", '{"expression":"6*7"}'],
  ]);
  expect(valuesOf(heard, "toolResult").map(({ output }) => output)).toEqual(["42"]);
  expect(valuesOf(heard, "text").map(({ content }) => content)).toEqual(["so"]);
  expect(valuesOf(heard, "finalAnswer").map(({ structured }) => structured)).toEqual([{}]);
});

test("kill -9 in mid-answer loses no call behind it", async () => {
  await using engine = await openEngine(settings);
  const agentId = await createAgent(engine.client, { model: "scripted:text:10" });
  const listener = makeListener();
  await using before = openChat(engine.client, agentId, { listener });
  before.say("write 150 words then compute 6*7");
  await before.until(() => wordsIn(listener.partial) > 40);
  await engine.kill();
  await before.broken();
  const shown = listener.partial;
  await engine.start();
  await using after = openChat(engine.client, agentId, { after: listener.sequence, listener });
  await after.end();
  const [text = "", result] = listener.texts;
  expect(text.startsWith(shown)).toBe(true);
  expect(numbersIn(text)).toEqual(numbersTo(150));
  expect(text).not.toContain("TOOL_CALL");
  expect(result).toBe("The tool calculator says: 42.");
  expect(listener.restarts).toBe(0);
  const history = await historyOf(engine.client, agentId);
  expect(valuesOf(history, "toolCall").length).toBe(1);
});
