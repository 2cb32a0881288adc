import { describe, expect, test } from "bun:test";
import { askedOf, makePlayedModel } from "../support/played-model.ts";
import { codeOf, openService, usesTools } from "../support/api.ts";
import { EngramError } from "../../src/errors.ts";
import { makeGate, quiet, until } from "../support/stage.ts";

const said = (content: string) => ({ content });

describe("SendMessage", () => {
  test("answers when the agent rests: the last text, and the tools' results", async () => {
    const { stage, engine, client } = openService(usesTools());
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
    const { stage, engine, client } = openService(usesTools());
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
    const { stage, engine, client } = openService(refusing);
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
    const { stage, engine, client } = openService(final);
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
    const { stage, engine, client } = openService(model);
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

  test("repeated, gives the turn of a message that was kept while the agent was paused", async () => {
    const { stage, engine, client } = openService();
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const control = (which: "pause" | "resume") =>
      client.controlAgent({ agentId, command: { case: which, value: {} } });
    const request = { agentId, messageId: "m", userInput: said("hi") };
    await control("pause");
    expect((await client.sendMessage(request)).text).toBe("");
    await control("resume");
    expect((await client.sendMessage(request)).text).toBe("you said: hi");
    await client.sendMessage({ agentId, userInput: said("else") });
    await control("pause");
    expect((await client.sendMessage(request)).text).toBe("you said: hi");
    await engine.drain();
  });

  test("repeated, gives the turn that went on behind its confirmation, and waits for it", async () => {
    const { stage, engine, client } = openService(usesTools());
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const request = { agentId, messageId: "m", userInput: said("risky") };
    expect((await client.sendMessage(request)).text).toBe("let me see");
    const { callId } = (await stage.state(agentId)).pendingCalls[0]!;
    const command = { case: "confirm", value: { callId, approve: true } } as const;
    await client.controlAgent({ agentId, command });
    expect(await client.sendMessage(request)).toMatchObject({
      text: "done",
      toolResults: [{ callId, isError: false }],
    });
    await engine.drain();
  });

  test("repeated, gives what came of a failed turn that was retried", async () => {
    let fails = true;
    const model = makePlayedModel(({ messages }) => ({
      text: [askedOf(messages)],
      before: async () => {
        if (fails) throw new EngramError("model_not_found", "there is no such model");
      },
    }));
    const { stage, engine, client } = openService(model);
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    const request = { agentId, messageId: "m", userInput: said("hi") };
    expect((await client.sendMessage(request)).error?.code).toBe("MODEL_NOT_FOUND");
    expect((await client.sendMessage(request)).error?.code).toBe("MODEL_NOT_FOUND");
    fails = false;
    await client.controlAgent({ agentId, command: { case: "retry", value: {} } });
    const answer = await client.sendMessage(request);
    expect([answer.text, answer.error]).toEqual(["hi", undefined]);
    await engine.drain();
  });

  test("whose client goes away leaves the agent to go on", async () => {
    const hold = makeGate();
    const model = makePlayedModel(() => ({ text: ["one"], before: () => hold.passed }));
    const { stage, engine, client } = openService(model);
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
    const { stage, engine, client } = openService();
    const agentId = await stage.create(engine, "goal", { waitForInput: true });
    expect(await codeOf(client.sendMessage({ agentId, ...request }))).toBe(code);
    expect(await stage.events(agentId)).toEqual(["AgentCreated"]);
    await engine.drain();
  });
});
