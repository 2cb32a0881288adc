import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { openEngine } from "../support/engine-process.ts";
import { type FakeOllama, openFakeOllama } from "../support/fake-ollama.ts";
import { runPython } from "../support/python.ts";

/** The first run on a machine installs the Python packages. */
setDefaultTimeout(180_000);

let ollama: FakeOllama;
beforeAll(async () => {
  ollama = await openFakeOllama({ delayMs: 2 });
});
afterAll(() => ollama.close());

type Received = { sequence: number; payload: string; text: string; status: string };
type Printed = { turns: Received[][] } & Record<string, unknown>;

const textsOf = (turn: Received[] | undefined): string[] =>
  (turn ?? []).filter(({ payload }) => payload === "text").map(({ text }) => text);

test.each(["ours", "published"] as const)(
  "grpcio with %s stubs chats with an agent on Ollama, and each loop over the answers ends by itself",
  async (stubs) => {
    await using engine = await openEngine({ LLM_PROVIDER: "ollama", OLLAMA_URL: ollama.url });
    const args = [engine.target, "llama3.2", stubs];
    const printed = (await runPython("chat_turn.py", args, stubs)) as Printed;
    expect(printed).toEqual({
      turns: [expect.any(Array), expect.any(Array)],
      agent: {
        status: "waiting_for_input",
        goal: "Introduce yourself.",
        metadata: { from: "py" },
        steps: expect.any(Number),
      },
      listed: true,
      log: expect.any(Array),
      paused: "paused",
      resumed: "waiting_for_input",
      gone: "NOT_FOUND",
    });
    const [told, asked] = printed.turns;
    expect(told?.some(({ payload, status }) => payload === "status" && status === "waiting")).toBe(
      true,
    );
    expect(textsOf(told).at(-1)).toContain("secret code is 42");
    expect(textsOf(asked)).toEqual(["The secret code is 42."]);
    const log = printed["log"] as number[];
    expect(log).toEqual(log.map((_, index) => index + 1));
    // What stubs of the original wire do not know (deltas) comes to them as a message without a payload.
    const payloads = new Set(asked?.map(({ payload }) => payload));
    expect(payloads).toEqual(
      new Set(["status", stubs === "ours" ? "text_delta" : null, "text"] as string[]),
    );
  },
);
