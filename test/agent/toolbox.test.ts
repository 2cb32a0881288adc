import { expect, test } from "bun:test";
import type { AgentConfig, AgentTool } from "../../src/agent/event.ts";
import { type Toolbox, toolboxOf } from "../../src/agent/toolbox.ts";
import { plainConfig, plainSpec } from "../support/events.ts";
import { fileOf } from "../support/played-sandbox.ts";

const files = [
  ...["echo", "risky", "spare"].map(fileOf),
  { ...fileOf("broken"), error: "it is no WebAssembly" },
];

const toolbox = (tools: readonly AgentTool[], config: Partial<AgentConfig> = {}): Toolbox =>
  toolboxOf({ ...plainSpec, tools, config: { ...plainConfig, ...config } }, files);

const named = (name: string, over: Partial<AgentTool> = {}): AgentTool => ({
  name,
  description: "",
  parameters: null,
  requiresConfirmation: false,
  ...over,
});

/** What is offered, what is refused and what has to be confirmed of all that could be called. */
const shown = (box: Toolbox) => {
  const names = ["echo", "risky", "spare", "broken", "absent"];
  return {
    offered: box.definitions.map(({ name }) => name),
    refused: names.filter((name) => box.refusal(name)?.code === "TOOL_NOT_ALLOWED"),
    confirmed: names.filter(box.needsConfirmation),
  };
};

test("without names an agent has every tool that can be used", () => {
  expect(shown(toolbox([]))).toEqual({
    offered: ["echo", "risky", "spare", "final_answer"],
    refused: [],
    confirmed: ["risky"],
  });
});

test("with names it has those, and may call no other", () => {
  const confirmed = named("spare", { requiresConfirmation: true });
  expect(shown(toolbox([named("risky"), confirmed, named("absent")]))).toEqual({
    offered: ["risky", "spare", "final_answer"],
    refused: ["echo", "broken"],
    confirmed: ["risky", "spare"],
  });
  expect(toolbox([named("risky")]).refusal("echo")?.message).toContain("its tools are risky");
});

test("without tools it has none at all", () => {
  expect(shown(toolbox([], { noTools: true }))).toEqual({
    offered: [],
    refused: ["echo", "risky", "spare", "broken", "absent"],
    confirmed: [],
  });
  expect(toolbox([], { noTools: true }).refusal("final_answer")?.code).toBe("TOOL_NOT_ALLOWED");
});

test("a tool is described by its file where its client says nothing else", () => {
  const parameters = { type: "object", required: ["n"] };
  const box = toolbox([named("echo"), named("spare", { description: "Mine.", parameters })]);
  expect(box.definitions.slice(0, 2)).toEqual([
    { name: "echo", description: "the echo", parameters: { type: "object" } },
    { name: "spare", description: "Mine.", parameters },
  ]);
  expect([box.parametersOf("echo"), box.parametersOf("spare")]).toEqual([null, parameters]);
});

test("a file of the built-in tool's name is not offered beside it", () => {
  const box = toolboxOf(plainSpec, [fileOf("echo"), fileOf("final_answer")]);
  expect(box.definitions.map(({ name }) => name)).toEqual(["echo", "final_answer"]);
  expect(box.definitions.at(-1)?.description).toStartWith("Ends the goal");
});
