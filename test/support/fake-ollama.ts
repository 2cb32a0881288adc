/**
 * A stand-in for an Ollama server on a real port, faithful on the wire: headers come with the first event only, events are
 * lines of JSON, the last one may carry content, and a client that goes away stops the reply. A test tells it what to
 * answer next (`next`) with a script, of which `faults` holds the misbehaving ones; without one it answers as the
 * scripted model does. A model's name says what it cannot do: `missing…` is not there, `…no-tools…`,
 * `…no-thinking…` and `…no-prefill…`, or that it reads N tokens: `…-ctxN`; `fault:NAME` fails that way each time.
 * As a process: bun test/support/fake-ollama.ts --port N [--delay-ms D]
 */
import { createHash } from "node:crypto";
import { parseArgs } from "node:util";
import type { ToolDefinition } from "../../src/agent/event.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../src/agent/json.ts";
import type { PromptMessage } from "../../src/agent/prompt.ts";
import { systemClock } from "../../src/clock.ts";
import { openScripted } from "../../src/llm/scripted/scripted.ts";
import { openFakeExchange, stampNow, type FakeExchange } from "./fake-ollama-exchange.ts";
import { faults, type Script } from "./fake-ollama-faults.ts";
import { openFakeServer, type FakeServer } from "./fake-server.ts";
import { fitted, serveOther, type Read } from "./fake-ollama-models.ts";

export type FakeOllama = FakeServer<FakeExchange> & {
  /** Makes every model another one to those who look at digests. */
  readonly repull: () => void;
};

const isText = (value: unknown): value is string => typeof value === "string";

const textOf = (value: unknown): string => (isText(value) ? value : "");

/** A message of the wire as the engine's own; null where Ollama would refuse it. */
const messageOf = (value: unknown): PromptMessage | null => {
  if (!isJsonObject(value)) return null;
  const { role, content = "", images = [], tool_calls: calls = [] } = value;
  if (!isText(content) || !Array.isArray(images) || !Array.isArray(calls)) return null;
  if (role === "system") return { role, content };
  if (role === "user") return images.every(isText) ? { role, content, images } : null;
  if (role === "tool")
    return {
      role,
      content,
      name: textOf(value["tool_name"]),
      callId: textOf(value["tool_call_id"]),
    };
  if (role !== "assistant") return null;
  const toolCalls = calls.map((call: unknown) => {
    const { name, arguments: input } =
      (isJsonObject(call) && isJsonObject(call["function"]) && call["function"]) || {};
    return isText(name) && isJsonObject(input) ? { callId: "", name, input } : null;
  });
  return toolCalls.every((call) => call !== null) ? { role, content, toolCalls } : null;
};

const toolsOf = (value: unknown): readonly ToolDefinition[] =>
  (Array.isArray(value) ? value : []).flatMap((tool: unknown) => {
    const of = isJsonObject(tool) && isJsonObject(tool["function"]) ? tool["function"] : {};
    const { name, description = "", parameters = {} } = of;
    return isText(name) && isText(description) && isJsonObject(parameters)
      ? [{ name, description, parameters }]
      : [];
  });

/** A prompt in ChatML, as a template writes it: a trailing assistant message is left open by those that continue it. */
const render = (messages: readonly PromptMessage[], prefill: boolean): string => {
  const turns = messages.map(({ role, content }) => `<|im_start|>${role}\n${content}`);
  const open = prefill && messages.at(-1)?.role === "assistant";
  return turns.join("<|im_end|>\n") + (open ? "" : "<|im_end|>\n<|im_start|>assistant\n");
};

const scripted = openScripted({ clock: systemClock });

/** Answers as the scripted model does, event by event. */
const answer = async (
  x: FakeExchange,
  { messages, tokensLeft }: Read,
  { model, delayMs, think }: { model: string; delayMs: number; think: boolean },
): Promise<void> => {
  const request = {
    model: `scripted:${delayMs}${model.includes("no-prefill") ? ":anew" : ""}${model.includes("no-tools") ? ":text" : ""}`,
    messages,
    tools: toolsOf(x.body["tools"]),
    temperature: null,
    thinking: think,
    contextTokens: null,
    format: null,
  };
  let callCount = 0;
  let tokens = 0;
  const whole = { content: "", thinking: "", calls: [] as JsonObject[] };
  const streams = x.body["stream"] !== false;
  for await (const piece of scripted.call(request, x.signal)) {
    if (piece.kind !== "done" && ++tokens > tokensLeft && streams)
      return x.done({ done_reason: "length", eval_count: tokensLeft });
    if (piece.kind === "done") {
      const counts = {
        prompt_eval_count: piece.usage.promptTokens,
        eval_count: piece.usage.completionTokens,
      };
      if (streams) return x.done(counts);
      const { content, thinking, calls } = whole;
      const message = { role: "assistant", content, thinking, tool_calls: calls };
      return x.json(200, { model, message, done: true, done_reason: "stop", ...counts });
    }
    if (piece.kind === "toolCall") {
      let input: JsonValue;
      try {
        input = JSON.parse(piece.inputJson);
      } catch (cause) {
        const text = `error parsing tool call: raw='${piece.inputJson}', err=${String(cause)}`;
        if (!streams) return x.json(500, { error: text });
        x.raw(`${JSON.stringify({ error: text })}\n`);
        return x.end();
      }
      const id = `call_${createHash("sha256").update(`${callCount}`).digest("hex").slice(0, 8)}`;
      const of = { index: callCount++, name: piece.name, arguments: input };
      whole.calls.push({ id, function: of });
      const message = { role: "assistant", content: "", tool_calls: [{ id, function: of }] };
      if (streams) x.event({ message, done: false });
    } else {
      const thinking = piece.kind === "thinking" ? piece.text : "";
      const content = piece.kind === "text" ? piece.text : "";
      whole.thinking += thinking;
      whole.content += content;
      const message = { role: "assistant", content, ...(thinking !== "" && { thinking }) };
      if (streams) x.event({ message, done: false });
    }
  }
};

/** /api/chat as Ollama checks it, before anything is generated. */
const chat =
  (delayMs: number): Script =>
  async (x) => {
    const { model, messages: sent, think, tools } = x.body;
    if (!isText(model) || model === "") return x.json(400, { error: "model is required" });
    if (model.startsWith("missing")) return x.json(404, { error: `model '${model}' not found` });
    const fault = Object.entries(faults).find(([name]) => model === `fault:${name}`)?.[1];
    if (fault !== undefined) return fault(x);
    if (model.includes("no-tools") && toolsOf(tools).length > 0) return faults["no-tools"](x);
    const thinks = !model.includes("no-thinking");
    if (!thinks && think !== undefined && think !== false) return faults["no-thinking"](x);
    const messages = (Array.isArray(sent) ? sent : []).map(messageOf);
    if (!messages.every((message) => message !== null))
      return x.json(400, {
        error: "json: cannot unmarshal into Go struct field ChatRequest.messages",
      });
    if (x.body["_debug_render_only"] === true) {
      const rendered_template = render(messages, !model.includes("no-prefill"));
      return x.json(200, { model, created_at: stampNow(), _debug_info: { rendered_template } });
    }
    const read = fitted(x, model, messages);
    if (read === null) return;
    return answer(x, read, { model, delayMs, think: thinks && think !== false });
  };

/** Starts a server on 127.0.0.1; `port` 0 takes a free one. `delayMs` is what each word of an unscripted reply takes. */
export const openFakeOllama = async ({ port = 0, delayMs = 0 } = {}): Promise<FakeOllama> => {
  let pulls = 0;
  const server = await openFakeServer<FakeExchange>(
    {
      open: openFakeExchange,
      chatPath: "/api/chat",
      answer: chat(delayMs),
      isRuled: ({ body }) => body["_debug_render_only"] !== true,
      serve: (x) => serveOther(x, pulls),
    },
    port,
  );
  return { ...server, repull: () => void pulls++ };
};

if (import.meta.main) {
  const { values } = parseArgs({
    options: { port: { type: "string" }, "delay-ms": { type: "string" } },
  });
  const fake = await openFakeOllama({
    port: Number(values.port ?? 11434),
    delayMs: Number(values["delay-ms"] ?? 20),
  });
  console.log(`listening on ${fake.url}`);
}
