import { gzipSync } from "node:zlib";
import type { FakeExchange } from "./fake-ollama-exchange.ts";

/** How one chat is answered. */
export type Script = (exchange: FakeExchange) => void | Promise<void>;

const modelOf = ({ body }: FakeExchange): string =>
  typeof body["model"] === "string" ? body["model"] : "";

const error =
  (status: number, text: string): Script =>
  (x) =>
    x.json(status, { error: text });

const pulled = (model: string): string =>
  `registry.ollama.ai/library/${model.includes(":") ? model : `${model}:latest`}`;

const nested =
  '{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}';

/** What goes wrong with servers, by name. Those that begin well say "Hello wor" first. */
export const faults = {
  "not-found": error(404, "model 'm' not found"),
  "bad-request": error(400, "invalid model name"),
  "no-tools": (x) => x.json(400, { error: `${pulled(modelOf(x))} does not support tools` }),
  "no-thinking": (x) => x.json(400, { error: `"${modelOf(x)}" does not support thinking` }),
  "no-chat": (x) => x.json(400, { error: `"${modelOf(x)}" does not support chat` }),
  "context-text": error(
    400,
    "the prompt is longer than the context length currently available to the model; reduce it",
  ),
  "context-nested": error(400, nested),
  unauthorized: (x) =>
    x.json(401, { error: "unauthorized", signin_url: "https://ollama.com/connect?key=secret" }),
  forbidden: (x) => x.plain(403, ""),
  "http-500": (x) => x.plain(500, "Internal Server Error"),
  "rate-limit": (x) => x.plain(429, '{"error":"too many requests"}', { "Retry-After": "7" }),
  busy: error(503, "server busy, please try again.  maximum pending requests exceeded"),
  "no-images": error(500, "this model is missing data required for image input"),
  "bad-option": error(500, 'option "num_ctx" must be of type integer'),
  "runner-died": error(500, "model runner has unexpectedly stopped, this may be due to limits"),
  "broken-call": error(500, "error parsing tool call: raw='{', err=unexpected end of JSON input"),
  html: (x) => x.plain(200, "<html>Welcome to nginx</html>", { "Content-Type": "text/html" }),
  "html-404": (x) => x.plain(404, "<html>404</html>", { "Content-Type": "text/html" }),
  "html-502": (x) => x.plain(502, "<html>Bad gateway</html>", { "Content-Type": "text/html" }),
  redirect: (x) => x.plain(302, "", { Location: "https://example.com/" }),
  sse: (x) => {
    x.raw('data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n');
    x.raw("data: [DONE]\n\n");
    x.end();
  },
  "plain-text": (x) => x.plain(200, "Hello world\n", { "Content-Type": "text/plain" }),
  "other-json": (x) => x.json(200, { choices: [{ message: { content: "Hello world" } }] }),
  empty: (x) => x.plain(200, ""),
  gzip: (x) => {
    const line = '{"message":{"content":"Hello world"},"done":true}\n';
    x.plain(200, gzipSync(line), { "Content-Encoding": "gzip" });
  },
  "not-streamed": (x) =>
    x.json(200, { message: { role: "assistant", content: "Hello wor" }, done: false }),
  /** As a server answers that was asked to load the model only. */
  load: (x) => x.done({ done_reason: "load" }),
  silent: (x) => x.done(),
  "blank-thinking": (x) => {
    x.event({ message: { role: "assistant", content: "", thinking: "Hm." }, done: false });
    x.done();
  },
  "error-first": (x) => {
    x.raw('{"error":"an error was encountered while running the model: no space"}\n');
    x.end();
  },
  /** Ollama ends a reply without a word when the model repeats itself thirty times. */
  repeating: (x) => {
    x.say("Hello wor");
    for (let n = 0; n < 30; n++) x.say(" ");
    x.end();
  },
  "call-flood": (x) => {
    begin(x);
    const call = { function: { name: "shout", arguments: {} } };
    x.event({
      message: {
        role: "assistant",
        content: "",
        tool_calls: Array.from({ length: 500 }, () => call),
      },
    });
    x.done();
  },
  "endless-name": (x) => {
    begin(x);
    const call = { function: { name: "shout".repeat(300_000), arguments: {} } };
    x.event({ message: { role: "assistant", content: "", tool_calls: [call] } });
    x.done();
  },
  "call-without-name": (x) => {
    begin(x);
    x.event({ message: { role: "assistant", tool_calls: [{ function: { arguments: {} } }] } });
    x.done();
  },
  hang: async (x) => void (await x.over),
  /** Says nothing for as long as an engine needs to die of something else. */
  late: async (x) => {
    await Promise.race([x.over, Bun.sleep(1_000)]);
    x.say("fine");
    x.done();
  },
  stall: async (x) => {
    begin(x);
    await x.over;
  },
  reset: async (x) => {
    begin(x);
    await flushed();
    x.reset();
  },
  "reset-before-head": (x) => x.reset(),
  cut: (x) => {
    begin(x);
    x.cut();
  },
  "no-done": (x) => {
    begin(x);
    x.end();
  },
  /** The end of another kind of request, which the package takes for the end of this one. */
  "other-end": (x) => {
    begin(x);
    x.raw('{"status":"success"}\n');
    x.end();
  },
  "error-line": (x) => {
    begin(x);
    x.raw('{"error":"an error was encountered while running the model: CUDA error"}\n');
    x.end();
  },
  "context-line": (x) => {
    begin(x);
    x.raw(`${JSON.stringify({ error: nested })}\n`);
    x.end();
  },
  "malformed-line": (x) => {
    begin(x);
    x.raw('{"message":{"role":"assistant","content":"l\n');
    x.say("d");
    x.done();
  },
  "null-line": (x) => {
    begin(x);
    x.raw("null\n");
    x.done();
  },
  "odd-shape": (x) => {
    begin(x);
    x.raw('{"message":{"role":"assistant","content":[{"type":"text"}]},"done":false}\n');
    x.done();
  },
  "bottomless-call": (x) => {
    begin(x);
    const input = `${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`;
    x.raw(`{"message":{"tool_calls":[{"function":{"name":"a","arguments":${input}}}]}}\n`);
    x.done();
  },
  "invalid-utf8": (x) => {
    begin(x);
    x.raw(Buffer.concat([Buffer.from('{"message":{"content":"'), Buffer.from([0xff, 0xfe])]));
    x.raw('"},"done":false}\n');
    x.done();
  },
  "endless-line": async (x) => {
    begin(x);
    const block = Buffer.alloc(1024 * 1024, "a");
    for (let sent = 0; sent < 64 && !x.signal.aborted; sent++) {
      x.raw(block);
      await flushed();
    }
    await x.over;
  },
} satisfies Record<string, Script>;

const begin = (x: FakeExchange): void => {
  x.say("Hello");
  x.say(" wor");
};

/** Lets what was written go out on its own. */
const flushed = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
