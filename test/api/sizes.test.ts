import { toBinary } from "@bufbuild/protobuf";
import { expect, test } from "bun:test";
import {
  SendMessageResponseSchema,
  type ServerMessage,
  ServerMessageSchema,
} from "../../src/gen/engram/api/v1/agent_pb.ts";
import { requestLimits, turnLimits } from "../../src/limits.ts";
import { codeOf, openService } from "../support/api.ts";
import { makePlayedModel } from "../support/played-model.ts";

/** What most gRPC clients take of one message. */
const clientBytesMax = 4 * 1024 * 1024;

async function sizesOf(messages: AsyncIterable<ServerMessage>): Promise<readonly number[]> {
  const sizes: number[] = [];
  for await (const message of messages) sizes.push(toBinary(ServerMessageSchema, message).length);
  return sizes;
}

test("the longest text that a user may send can be read back", async () => {
  const { stage, engine, client } = openService();
  const agentId = await stage.create(engine, "goal", { waitForInput: true });
  await client.controlAgent({ agentId, command: { case: "pause", value: {} } });
  const content = "x".repeat(requestLimits.contentBytesMax);
  await client.sendMessage({ agentId, userInput: { content } });
  const sizes = await sizesOf(client.replay({ agentId, includeHistory: true }));
  expect(Math.max(...sizes)).toBeGreaterThan(requestLimits.contentBytesMax);
  expect(Math.max(...sizes)).toBeLessThan(clientBytesMax);
  const longer = client.sendMessage({ agentId, userInput: { content: `${content}x` } });
  expect(await codeOf(longer)).toBe("InvalidArgument");
  await engine.drain();
});

test("the longest reply of a model can be read, and none is longer, whatever its characters", async () => {
  const texts = ["\u0439".repeat(turnLimits.replyBytesMax / 2), "x"];
  const model = makePlayedModel((_request, number) => ({ text: texts.slice(0, number) }));
  const { stage, engine, client } = openService(model);
  const agentId = await stage.create(engine, "goal", { waitForInput: true });
  const first = await client.sendMessage({ agentId, userInput: { content: "write" } });
  expect(first.text).toBe(texts[0]!);
  const sizes = await sizesOf(client.replay({ agentId, includeHistory: true }));
  expect(Math.max(...sizes)).toBeLessThan(clientBytesMax);
  const second = await client.sendMessage({ agentId, userInput: { content: "write more" } });
  expect(second.error?.code).toBe("MODEL_ERROR");
  await engine.drain();
});

test("an answer leaves the oldest tool results out where all are more than a client takes", async () => {
  const text = "x".repeat(turnLimits.toolInputCharsMax - 100);
  const calls = Array.from({ length: 6 }, (_, n) => ({ name: "echo", input: { n, text } }));
  const model = makePlayedModel((_request, number) =>
    number === 1 ? { text: ["let me see"], calls } : { text: ["done"] },
  );
  const { stage, engine, client } = openService(model);
  const agentId = await stage.create(engine, "goal", { waitForInput: true });
  const answer = await client.sendMessage({ agentId, userInput: { content: "look" } });
  expect(toBinary(SendMessageResponseSchema, answer).length).toBeLessThan(clientBytesMax);
  expect(answer.text).toBe("done");
  const numbers = answer.toolResults.map(({ output }) => JSON.parse(output).n);
  expect(numbers).toEqual([3, 4, 5]);
  await engine.drain();
});
