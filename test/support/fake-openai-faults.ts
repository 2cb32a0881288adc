import type { FakeCompletion } from "./fake-openai-exchange.ts";
import type { ScriptOf } from "./fake-server.ts";

type Script = ScriptOf<FakeCompletion>;

type ErrorBody = {
  readonly message: string;
  readonly type?: string;
  readonly code?: string | number;
  readonly [more: string]: string | number | undefined;
};

/** An error as OpenAI spells it. */
const error =
  (status: number, body: ErrorBody, headers: Record<string, string> = {}): Script =>
  (x) =>
    x.plain(status, JSON.stringify({ error: { type: "invalid_request_error", ...body } }), {
      "Content-Type": "application/json",
      ...headers,
    });

/** As vLLM did before it took over OpenAI's spelling. */
const bare =
  (status: number, message: string): Script =>
  (x) =>
    x.json(status, {
      object: "error",
      message,
      type: "BadRequestError",
      param: null,
      code: status,
    });

const page =
  (status: number, body: string, headers: Record<string, string> = {}): Script =>
  (x) =>
    x.plain(status, `<html>${body}</html>`, { "Content-Type": "text/html", ...headers });

const begun =
  (script: Script): Script =>
  (x) => {
    x.delta({ role: "assistant", content: "" });
    x.say("Hello");
    x.say(" wor");
    return script(x);
  };

const said = (text: string): Script =>
  begun((x) => {
    x.raw(text);
    x.finish();
  });

const finished = (reason: string): Script => begun((x) => x.finish(reason));

/** What goes wrong with servers, by name. Those that begin well say "Hello wor" first. */
export const faults = {
  "not-found": error(404, {
    message: "The model `qwen3` does not exist or you do not have access to it.",
    code: "model_not_found",
  }),
  "not-found-vllm": bare(404, "The model `qwen3` does not exist."),
  "not-found-mistral": (x) =>
    x.json(400, { object: "error", message: "Invalid model: qwen3", type: "invalid_model" }),
  "not-found-deepseek": error(400, { message: "Model Not Exist" }),
  "no-such-path": (x) => x.json(404, { detail: "Not Found" }),
  "no-such-path-llama": error(404, {
    message: "File Not Found",
    type: "not_found_error",
    code: 404,
  }),
  unauthorized: error(401, {
    message: "Incorrect API key provided: sk-te*****key.",
    code: "invalid_api_key",
  }),
  forbidden: error(403, { message: "Country, region, or territory not supported" }),
  broke: error(402, { message: "Insufficient Balance", type: "unknown_error" }),
  "bad-request": error(400, { message: "Invalid 'messages[1].content'" }),
  "bad-schema": error(400, {
    message: "Invalid schema for function 'f': In context=(), 'oneOf' is not permitted.",
  }),
  "bad-temperature": error(400, {
    message: "Unsupported value: 'temperature' does not support 0.7 with this model.",
    code: "unsupported_value",
  }),
  "context-openai": error(400, {
    message:
      "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
    code: "context_length_exceeded",
  }),
  "context-vllm": bare(
    400,
    "This model's maximum context length is 4096 tokens. However, you requested 5100 tokens (5000 in the messages, 100 in the completion).",
  ),
  "context-llama": error(400, {
    message: "the request exceeds the available context size, try increasing it",
    type: "exceed_context_size_error",
    n_prompt_tokens: 9000,
    n_ctx: 4096,
  }),
  "context-mistral": bare(
    400,
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
  ),
  "context-minute": error(429, {
    message:
      "Request too large for gpt-x on tokens per min (TPM): Limit 10000, Requested 14000. The input must be reduced.",
    type: "tokens",
    code: "rate_limit_exceeded",
  }),
  "no-quota": error(429, {
    message: "You exceeded your current quota, please check your plan and billing details.",
    type: "insufficient_quota",
    code: "insufficient_quota",
  }),
  "rate-limit": error(
    429,
    { message: "Rate limit reached for requests", code: "rate_limit_exceeded" },
    { "Retry-After": "7" },
  ),
  conflict: error(409, { message: "try again" }),
  busy: error(503, { message: "Loading model", type: "unavailable_error", code: 503 }),
  overloaded: error(529, { message: "Overloaded" }),
  broken: error(500, { message: "The server had an error", type: "server_error" }),
  html: page(200, "Welcome to nginx"),
  "html-404": page(404, "404"),
  "html-405": page(405, "Not allowed"),
  "html-502": page(502, "Bad gateway"),
  redirect: page(307, "", { Location: "http://127.0.0.1:1/v1/chat/completions" }),
  hang: async (x) => void (await x.over),
  stall: begun(async (x) => void (await x.over)),
  "reset-before-head": (x) => x.reset(),
  reset: begun(async (x) => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    x.reset();
  }),
  cut: begun((x) => x.cut()),
  "no-finish": begun((x) => x.end()),
  "done-without-finish": begun((x) => {
    x.data("[DONE]");
    x.end();
  }),
  "error-event": said('data: {"error":{"message":"CUDA out of memory","code":500}}\n\n'),
  "error-named": said('event: error\ndata: {"message":"CUDA out of memory"}\n\n'),
  "error-field": said(
    'error: {"code":500,"message":"CUDA out of memory","type":"server_error"}\n\n',
  ),
  "error-in-200": (x) => x.json(200, { error: { message: "Provider is overloaded", code: 502 } }),
  "context-event": said(
    'data: {"error":{"message":"maximum context length is 4096 tokens","code":400}}\n\n',
  ),
  null: said("data: null\n\n"),
  malformed: said('data: {"choices":[{"delta":{"content":"l\n\n'),
  "no-event": said('{"choices":[]}\n'),
  "odd-content": said('data: {"choices":[{"index":0,"delta":{"content":{"a":1}}}]}\n\n'),
  "odd-calls": said('data: {"choices":[{"index":0,"delta":{"tool_calls":{"a":1}}}]}\n\n'),
  "invalid-utf8": begun((x) => {
    x.raw(Buffer.concat([Buffer.from('data: {"choices":[{"delta":{"content":"'), Buffer.of(0xff)]));
    x.raw('"}}]}\n\n');
    x.finish();
  }),
  "endless-line": begun(async (x) => {
    const block = Buffer.alloc(1024 * 1024, "a");
    x.raw("data: ");
    for (let sent = 0; sent < 64 && !x.signal.aborted; sent++) {
      x.raw(block);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await x.over;
  }),
  "nameless-call": begun((x) => {
    x.delta({ tool_calls: [{ index: 0, id: "call_1", function: { arguments: "{}" } }] });
    x.finish("tool_calls");
  }),
  "too-many-calls": begun((x) => {
    for (let index = 0; index < 40; index++)
      x.delta({
        tool_calls: [{ index, id: `${index}`, function: { name: "f", arguments: "{}" } }],
      });
    x.finish("tool_calls");
  }),
  "endless-call": begun((x) => {
    const input = "a".repeat(600_000);
    x.delta({ tool_calls: [{ index: 0, id: "1", function: { name: "f", arguments: input } }] });
    x.delta({ tool_calls: [{ index: 0, function: { arguments: input } }] });
    x.finish("tool_calls");
  }),
  "endless-name": begun((x) => {
    for (let sent = 0; sent < 20; sent++)
      x.delta({ tool_calls: [{ index: 0, function: { name: "shout".repeat(20_000 + sent) } }] });
    x.finish("tool_calls");
  }),
  "bottomless-call": begun((x) => {
    const input = `${'{"a":'.repeat(500_000)}1${"}".repeat(500_000)}`;
    x.data(
      `{"choices":[{"delta":{"tool_calls":[{"function":{"name":"a","arguments":${input}}}]}}]}`,
    );
    x.finish("tool_calls");
  }),
  filtered: finished("content_filter"),
  aborted: finished("abort"),
} satisfies Record<string, Script>;

/** What servers refuse of requests that they take without. */
export const refusals = {
  usage: error(400, { message: "Unrecognized request argument supplied: stream_options" }),
  "usage-mistral": (x) =>
    x.json(422, {
      object: "error",
      message: {
        detail: [{ type: "extra_forbidden", loc: ["body", "stream_options", "include_usage"] }],
      },
    }),
  thinking: error(400, {
    message: "Unsupported parameter: 'reasoning_effort' is not supported with this model.",
    code: "unsupported_parameter",
  }),
  "thinking-ollama": error(400, { message: '"qwen3" does not support thinking' }),
  "thinking-with-tools": error(400, {
    message: "Function tools with reasoning_effort are not supported for gpt-x in this endpoint.",
  }),
  format: error(400, {
    message: "Invalid parameter: 'response_format' of type 'json_schema' is not supported.",
  }),
  tools: error(400, { message: "registry.ollama.ai/library/qwen3:latest does not support tools" }),
  "tools-vllm": bare(
    400,
    '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
  ),
  "tools-llama": error(500, { message: "tools param requires --jinja flag", type: "server_error" }),
  "tools-llama-old": error(500, { message: "Unsupported param: tools", type: "server_error" }),
  "tools-pydantic": (x) =>
    x.json(422, {
      detail: [
        { type: "extra_forbidden", loc: ["body", "tools"], msg: "Extra inputs are not permitted" },
      ],
    }),
  "tools-openrouter": error(404, { message: "No endpoints found that support tool use." }),
  "tools-groq": error(400, { message: "`tool calling` is not supported with this model" }),
} satisfies Record<string, Script>;
